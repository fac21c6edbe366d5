"""Decoded data sets on disk, so that each is decoded once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...layers import write_atomically
from .image_data import ImageData, Images
from .source import Found

# Raised when the same files give other images than before.
FORMAT: Final = 1


def usual_cache() -> Path:
    """Return ``$XDG_CACHE_HOME/sttp``, or ``~/.cache/sttp`` where that is not set."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "sttp"


def read_cached(found: Found, name: str, size: int | None, cache: Path | None) -> ImageData:
    """Return what the files hold, from the cache where it has that, and else decoded and put there.

    A cached copy belongs to files of the same paths, sizes and times of change. A damaged one is made anew. Of several
    processes one decodes, and the others wait for it.

    Raises:
        OSError: the cache cannot be written.
        ValueError: the files are damaged.
    """
    if cache is None or not found.files:
        return found.read()
    import filelock  # of the extra `study`

    try:
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"{name}-{_key(found, name, size)}.safetensors"
        data = _read(path)
        if data is None:
            with filelock.FileLock(path.with_suffix(".lock")):
                data = _read(path)
                if data is None:
                    data = found.read()
                    _write(path, data)
    except OSError as error:
        raise OSError(
            f"cache={str(cache)!r} cannot be used ({error}); give another folder, or None for none"
        ) from error
    return data


def _key(found: Found, name: str, size: int | None) -> str:
    """Return a digest of all that decoded images depend on."""
    digest = hashlib.sha256(json.dumps([FORMAT, name, size]).encode())
    for file in found.files:
        status = file.stat()
        digest.update(json.dumps([str(file.resolve()), status.st_size, status.st_mtime_ns]).encode())
    return digest.hexdigest()[:24]


def _write(path: Path, data: ImageData) -> None:
    words = {"name": data.name, "classes": json.dumps(data.classes), "checksum": data.checksum}
    write_atomically(path, lambda file: save_file(_tensors(data), file, words))


def _read(path: Path) -> ImageData | None:
    """Return a cached data set, None where there is none or it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            words = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 the file is no mapping
        training, test = (
            Images(tensors[f"{split}.images"], tensors[f"{split}.labels"]) for split in ("training", "test")
        )
        data = ImageData(words["name"], tuple(json.loads(words["classes"])), training, test)
        return data if data.checksum == words["checksum"] else None
    except (FileNotFoundError, SafetensorError, ValueError, TypeError, KeyError):
        return None


def _tensors(data: ImageData) -> dict[str, Tensor]:
    return {
        f"{split}.{name}": tensor.contiguous()
        for split, part in (("training", data.training), ("test", data.test))
        for name, tensor in (("images", part.images), ("labels", part.labels))
    }
