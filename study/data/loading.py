"""The way from the name of a data set to its images: files on disk, downloads, and the cache of decoded images."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ...layers import write_atomically
from ...manifolds import require_integer
from .._plain import require_known
from .digits import BundledDigits
from .folder import ImageFolder
from .image_data import ImageData, Images
from .published import CIFAR10, CIFAR100, STL10, UNLABELLED
from .source import DATA, Archive, DataSource, Found, MissingDataError, register_data

register_data("digits", BundledDigits())
for _source in (CIFAR10, CIFAR100, STL10, UNLABELLED):
    register_data(_source.name, _source)
register_data("folder", ImageFolder())

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sttp"
# Raised when the same files give other images than before.
FORMAT: Final = 1


def load(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    size: int | None = None,
    cache: str | os.PathLike[str] | None = CACHE,
    workers: int | None = None,
) -> ImageData:
    """Return a data set; nothing is fetched unless that is asked for.

    Args:
        name: one of ``DATA``.
        directory: the folder or file that holds it; None for one that is bundled, or was fetched into the cache.
        download: fetch the published archive, into the directory or else the cache, if the data is not there; refused
            for data that has none.
        size: height and width that all images get by bilinear interpolation; None for those of the data set.
        cache: folder of decoded images, by default ``$XDG_CACHE_HOME/sttp`` or ``~/.cache/sttp``; None for none.
        workers: number of threads that decode; None for one a core.

    Raises:
        ValueError: the name is unknown, the data is not there, or it is damaged.
        TypeError: a number is no integer.
        OSError: the archive cannot be fetched, or the cache not be written.
    """
    source = DATA[require_known("data", name, DATA)]
    for argument, value in (("size", size), ("workers", workers)):
        if value is not None:
            require_integer(argument, value, least=1)
    cache_folder = None if cache is None else Path(cache).expanduser()
    if download:
        require_published(name)
    if source.bundled and directory is not None:
        raise ValueError(f"directory must be left out with data {name!r}, which is bundled, got {str(directory)!r}")
    path = Path() if source.bundled else _place(name, source, directory, cache_folder, download)
    found = _found(name, source, path, download, size, workers)
    if cache_folder is None or not found.files:
        return found.read().resized(size)
    return _through_cache(found, name, size, cache_folder)


def fetch_missing(
    name: str, directory: str | os.PathLike[str] | None = None, *, cache: str | os.PathLike[str] | None = CACHE
) -> None:
    """Fetch the published archive of a data set, unless the data is there; nothing is read of it.

    Args:
        name, directory, cache: as for :func:`load`.

    Raises:
        ValueError: the name is unknown, no archive is published, or what came is not it.
        OSError: nothing came.
    """
    require_published(name)
    path = _place(name, DATA[name], directory, None if cache is None else Path(cache).expanduser(), True)
    _found(name, DATA[name], path, True, None, None)


def require_published(name: str) -> None:
    """Refuse data that is not to be had as an archive.

    Raises:
        ValueError: as said, or the name is unknown.
    """
    if DATA[require_known("data", name, DATA)].archive is None:
        published = ", ".join(known for known, source in DATA.items() if source.archive)
        raise ValueError(
            f"download is for data that is published in an archive, {published}, got it with data {name!r}; "
            "leave it out"
        )


def _place(
    name: str, source: DataSource, directory: str | os.PathLike[str] | None, cache: Path | None, download: bool
) -> Path:
    """Return the path where the data is to be."""
    if directory is None:
        if cache is None or source.archive is None:
            raise ValueError(f"directory must be given with data {name!r}, got None; give its folder or file")
        return cache / "archives"
    path = Path(directory).expanduser()
    if not path.exists() and not download:
        raise ValueError(
            f"directory={str(directory)!r} is not there; give a folder or file that holds {name}{_cure(source)}"
        )
    return path


def _found(name: str, source: DataSource, path: Path, download: bool, size: int | None, workers: int | None) -> Found:
    try:
        return source.find(path, size, workers)
    except MissingDataError as error:
        if not download or source.archive is None:
            raise ValueError(f"{error}{_cure(source)}") from None
    if path.is_file():
        raise ValueError(f"directory={str(path)!r} is a file that holds no {name}; give a folder to download to")
    _fetch(source.archive, path)
    return source.find(path, size, workers)


def _cure(source: DataSource) -> str:
    """Return what else can be done where data is missing."""
    if source.archive is None:
        return ""
    return f"; or give --download, in Python download=True, to have {source.archive.url} fetched there"


def _fetch(archive: Archive, folder: Path) -> None:
    """Fetch an archive into a folder, where it appears only when it is whole and has its published sum."""
    import pooch  # of the extra `study`

    pooch.get_logger().setLevel("WARNING")  # a command says by itself what it does
    try:
        pooch.retrieve(archive.url, f"md5:{archive.md5}", archive.file, folder)
        (folder / archive.file).chmod(0o644)  # a temporary file, which it was, is its owner's alone
    except OSError as error:
        raise OSError(
            f"{archive.url} cannot be fetched ({error}); try again, or fetch it by other means and put it into {folder}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{archive.url} is not the published {archive.file} ({error}); try again later") from None


def _through_cache(found: Found, name: str, size: int | None, cache: Path) -> ImageData:
    """Return what the files hold, from the cache where it has that, and else decoded and put there.

    A cached copy belongs to files of the same paths, sizes and times of change. A damaged one is made anew. Of several
    processes one decodes, and the others wait for it.
    """
    import filelock  # of the extra `study`

    path = cache / f"{name}-{_key(found, name, size)}.safetensors"
    data = _read(path)
    if data is not None:
        return data
    with ExitStack() as stack:
        with _writable(cache):
            cache.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(path.with_suffix(".lock")))
        data = _read(path)
        if data is None:
            data = found.read().resized(size)
            with _writable(cache):
                _write(path, data)
    return data


@contextmanager
def _writable(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cache={str(cache)!r} cannot be used ({error}); give another folder, or None for none"
        ) from error


def _key(found: Found, name: str, size: int | None) -> str:
    """Return a digest of all that decoded images depend on."""
    digest = hashlib.sha256(json.dumps([FORMAT, name, size]).encode())
    for file in found.files:
        status = file.stat()
        digest.update(json.dumps([str(file.resolve()), status.st_size, status.st_mtime_ns]).encode())
    return digest.hexdigest()[:24]


def _write(path: Path, data: ImageData) -> None:
    tensors = {
        f"{split}.{name}": tensor.contiguous() if split == "training" else tensor.clone()  # which shares no memory
        for split, part in (("training", data.training), ("test", data.test))
        for name, tensor in (("images", part.images), ("labels", part.labels))
    }
    words = {"name": data.name, "classes": json.dumps(data.classes), "checksum": data.checksum}
    write_atomically(path, lambda file: save_file(tensors, file, words))


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
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return None
