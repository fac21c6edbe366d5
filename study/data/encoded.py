"""Encoded images, such as PNG and JPEG, as one tensor, decoded by Pillow; those of the hub's parquet files too."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from .._plain import shown
from .image_data import Images

FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # of Pillow's others, some run programs
PIECE: Final = 256  # images that a thread decodes at a time
SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})")

# The files of the splits `train` and `test`, each in the order of their names.
ParquetFiles = dict[str, tuple[Path, ...]]


def decode(
    names: Sequence[str], read: Callable[[int], bytes | Path], size: int | None = None, workers: int | None = None
) -> Tensor:
    """Return images ``(n, C, H, W)`` of uint8, with C = 1 if all are grey and else C = 3.

    Args:
        names: what errors call each image; at least one.
        read: returns an image's encoded bytes, or its path, by its position.
        size: height and width that all get: the square at the centre, resized by bilinear interpolation without
            aliasing. With None all images must have one size.
        workers: number of threads, in which Pillow decodes and resizes side by side; None for one a core.

    Raises:
        ValueError: an image is damaged, has more pixels than Pillow's ``MAX_IMAGE_PIXELS``, or is of a kind that is not
            read, or they have different sizes.
    """

    def decoded(position: int) -> tuple[np.ndarray[Any, Any], bool]:
        try:
            content = read(position)
            return _pixels(io.BytesIO(content) if isinstance(content, bytes) else content, size)
        except Exception as error:  # decoders raise nearly anything
            raise ValueError(
                f"{names[position]} is no image that can be read ({type(error).__name__}: {shown(error)}); mend or "
                "remove it"
            ) from None

    def fill(start: int) -> bool:
        all_grey = True
        for position in range(start, min(start + PIECE, len(names))):
            image, grey = decoded(position)
            if image.shape != whole.shape[1:]:
                raise ValueError(
                    f"{names[position]} has {image.shape[1]}×{image.shape[2]} pixels, where {names[0]} has "
                    f"{whole.shape[2]}×{whole.shape[3]}; give a size that all images get"
                )
            whole[position] = image
            all_grey = all_grey and grey
        return all_grey

    whole = np.empty((len(names), *decoded(0)[0].shape), np.uint8)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        all_grey = all(list(pool.map(fill, range(0, len(names), PIECE))))
    return torch.from_numpy(np.ascontiguousarray(whole[:, :1]) if all_grey else whole)


def _pixels(file: io.BytesIO | Path, size: int | None) -> tuple[np.ndarray[Any, Any], bool]:
    """Return an image ``(3, H, W)`` as the camera held it, and whether it is grey."""
    from PIL import Image, ImageOps  # of the extra `study`

    with Image.open(file, formats=FORMATS) as opened:
        # By the header, before anything is decoded: Pillow itself only warns up to twice its limit.
        if Image.MAX_IMAGE_PIXELS is not None and opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{opened.width}×{opened.height} pixels are more than {Image.MAX_IMAGE_PIXELS}")
        image = ImageOps.exif_transpose(opened)
    grey = image.mode in ("1", "L", "LA")
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"its pixels of the mode {image.mode} have more than 8 bits; convert it")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif size is not None:
        image = image.convert("L" if grey else "RGB")
    if size is not None:
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        image = image.crop((left, top, left + edge, top + edge)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1), grey


def find_parquet(path: Path) -> ParquetFiles | None:
    """Return the files ``train*`` and ``test*`` in a folder or in one folder below it; None where none is.

    Raises:
        ValueError: one split is missing, or a file of several, or there are several folders.
    """
    for pattern in ("{}*.parquet", "*/{}*.parquet"):
        found = {split: tuple(sorted(path.glob(pattern.format(split)))) for split in ("train", "test")}
        if any(found.values()):
            break
    else:
        return None
    for split, files in found.items():
        folders = sorted({shown(file.parent) for file in files})
        if len(folders) != 1:
            where = f"in several folders, {', '.join(folders)}; give one of them" if files else "nowhere; add it"
            raise ValueError(f"{shown(path)} has {split}*.parquet {where}")
        for file in files:
            shard = SHARD.search(file.stem)
            if shard is not None and int(shard[2]) != len(files):
                raise ValueError(
                    f"{shown(path)} has {len(files)} of the {int(shard[2])} files that {shown(file.name)} is one of; "
                    "add the others"
                )
    return found


def read_parquet(
    files: Sequence[Path], label_column: str, classes: tuple[str, ...], shape: tuple[int, ...], workers: int | None
) -> Images:
    """Return the images of some files as the Hugging Face hub has them: encoded in one column, labels in another.

    Raises:
        ValueError: a file is damaged, has other columns or other classes, or an image of another shape.
    """
    contents: list[bytes] = []
    names: list[str] = []
    labels: list[int] = []
    for file in files:
        encoded, found = _read_columns(file, label_column, classes)
        contents += encoded
        names += [f"{shown(file)}, row {row}" for row in range(len(encoded))]
        labels += found
    images = decode(names, contents.__getitem__, workers=workers)
    if tuple(images.shape[1:]) != shape:
        raise ValueError(
            f"{shown(files[0])} has images of the shape {tuple(images.shape[1:])}, where {shape} must be; use others"
        )
    return Images(images, torch.tensor(labels, dtype=torch.int64))


def _read_columns(file: Path, label_column: str, classes: tuple[str, ...]) -> tuple[list[bytes], list[int]]:
    """Return encoded images and labels of a file."""
    import pyarrow  # of the extra `study`
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
        image_column = "img" if "img" in schema.names else "image"
        missing = {image_column, label_column} - set(schema.names)
        if missing:
            raise ValueError(f"{shown(file)} has no column {', '.join(missing)} but {shown(', '.join(schema.names))}")
        _require_classes(file, schema.metadata or {}, label_column, classes)
        # One thread: what takes time is decoding.
        table = parquet.read_table(file, columns=[image_column, label_column], use_threads=False)
        images = table.column(image_column).combine_chunks().field("bytes").to_pylist()
        labels = table.column(label_column).cast(pyarrow.int64()).to_pylist()
    except (pyarrow.ArrowException, OSError, KeyError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"{shown(file)} is damaged or in another layout ({type(error).__name__}: {shown(error)}); fetch it again"
        ) from error
    if not images:
        raise ValueError(f"{shown(file)} holds no image; fetch it again")
    for what, column in (("bytes of an image", images), ("label", labels)):
        if None in column:
            raise ValueError(f"{shown(file)}, row {column.index(None)} has no {what}; use files that hold all")
    if min(labels) < 0 or max(labels) >= len(classes):
        raise ValueError(
            f"{shown(file)} has labels from {min(labels)} to {max(labels)}, where there are {len(classes)} classes; "
            "use others"
        )
    return images, labels


def _require_classes(file: Path, metadata: dict[bytes, bytes], label_column: str, classes: tuple[str, ...]) -> None:
    """Refuse a file that says that its labels mean other classes; one that says nothing is taken."""
    try:
        names = tuple(map(str, json.loads(metadata[b"huggingface"])["info"]["features"][label_column]["names"]))
    except (KeyError, TypeError, ValueError):
        return
    if names != classes:
        raise ValueError(f"{shown(file)} has the classes {shown(', '.join(names))}, not {', '.join(classes)}")
