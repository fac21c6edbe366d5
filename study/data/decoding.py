"""Encoded images, such as PNG and JPEG, as one tensor; many of them in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

# Below this, starting processes takes longer than decoding (CIFAR-10 has 18 MB, which take one process 4 seconds).
WORTH_PROCESSES: Final = 4 << 20
PIECES_A_WORKER: Final = 8
LARGEST_PIECE: Final = 1024

Decoded = tuple[np.ndarray[Any, Any], bool]


class Encoded(NamedTuple):
    """Encoded images.

    Attributes:
        contents: of each image its bytes, or its path, or its name in the archive.
        names: what errors call it.
        size: of all together in bytes.
        archive: a zip archive that holds the images.
    """

    contents: tuple[bytes | str, ...]
    names: tuple[str, ...]
    size: int
    archive: str | None = None


def decode(encoded: Encoded, size: int | None = None, workers: int | None = None) -> Tensor:
    """Return images ``(n, C, H, W)`` of uint8, with C = 1 if all are grey and else C = 3.

    Args:
        encoded: at least one image.
        size: height and width that all get: the square at the centre, resized by bilinear interpolation without
            aliasing. With None all images must have one size.
        workers: number of processes; None for as many as there are cores if that is worth it.

    Raises:
        ValueError: an image is damaged, or of a kind that is not read, or they have different sizes.
    """
    import joblib  # of the extra `study`

    count = len(encoded.contents)
    if workers is None:
        workers = joblib.cpu_count() if encoded.size >= WORTH_PROCESSES else 1
    length = max(1, min(LARGEST_PIECE, count // (workers * PIECES_A_WORKER)))
    pieces = [slice(start, start + length) for start in range(0, count, length)]
    calls = (
        joblib.delayed(_decoder())(encoded.archive, encoded.contents[piece], encoded.names[piece], size)
        for piece in pieces
    )
    decoded: Iterator[Decoded] = joblib.Parallel(n_jobs=workers, return_as="generator")(calls)
    return _joined(decoded, pieces, encoded.names)


def _joined(decoded: Iterator[Decoded], pieces: list[slice], names: tuple[str, ...]) -> Tensor:
    """Return the pieces as one tensor, which each enters as it arrives."""
    whole = np.empty((0, 3, 0, 0), np.uint8)
    all_grey = True
    for piece, (images, grey) in zip(pieces, decoded, strict=True):
        if piece.start == 0:
            whole = np.empty((len(names), *images.shape[1:]), np.uint8)
        if images.shape[1:] != whole.shape[1:]:
            raise ValueError(_other_size(names[piece.start], images.shape, names[0], whole.shape))
        whole[piece] = images
        all_grey = all_grey and grey
    return torch.from_numpy(np.ascontiguousarray(whole[:, :1]) if all_grey else whole)


def _other_size(name: str, shape: tuple[int, ...], first: str, expected: tuple[int, ...]) -> str:
    return (
        f"{name} has {shape[-2]}×{shape[-1]} pixels, where {first} has {expected[-2]}×{expected[-1]}; "
        "give a size that all images get"
    )


def _decoder() -> Callable[..., Decoded]:
    """Return the function that decodes a piece.

    It is made here, because a function inside another one is sent to a process as it is. One of a module would be sent
    by its name, and the process would import this package and torch, which takes longer than most of the decoding.
    """

    def decode_piece(
        archive: str | None, contents: tuple[bytes | str, ...], names: tuple[str, ...], size: int | None
    ) -> Decoded:
        import contextlib
        import io
        import zipfile

        import numpy as np
        from PIL import Image, ImageOps

        def pixels(file: Any) -> tuple[np.ndarray[Any, Any], bool]:
            with Image.open(file) as opened:
                image = ImageOps.exif_transpose(opened)
                grey = image.mode in ("1", "L", "LA")
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"its pixels of the mode {image.mode} have more than 8 bits; convert it")
                if size is not None:
                    edge = min(image.size)
                    left, top = (image.width - edge) // 2, (image.height - edge) // 2
                    image = image.convert("L" if grey else "RGBA" if image.mode in ("P", "PA") else "RGB")
                    image = image.crop((left, top, left + edge, top + edge))
                    image = image.resize((size, size), Image.Resampling.BILINEAR)
                elif image.mode in ("P", "PA"):
                    image = image.convert("RGBA")
                return np.asarray(image.convert("RGB")).transpose(2, 0, 1), grey

        found: list[np.ndarray[Any, Any]] = []
        all_grey = True
        with contextlib.nullcontext() if archive is None else zipfile.ZipFile(archive) as opened:
            for content, name in zip(contents, names, strict=True):
                try:
                    if opened is not None:
                        content = opened.read(str(content))
                    image, grey = pixels(io.BytesIO(content) if isinstance(content, bytes) else content)
                except Exception as error:  # decoders raise nearly anything
                    raise ValueError(
                        f"{name} is no image that can be read ({type(error).__name__}: {error}); mend or remove it"
                    ) from None
                if found and image.shape != found[0].shape:
                    raise ValueError(
                        f"{name} has {image.shape[1]}×{image.shape[2]} pixels, where {names[0]} has "
                        f"{found[0].shape[1]}×{found[0].shape[2]}; give a size that all images get"
                    )
                found.append(image)
                all_grey = all_grey and grey
        return np.stack(found), all_grey

    return decode_piece
