"""Image sets as the Hugging Face hub keeps them: parquet files with a column of encoded images and one of labels."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from .decoding import Encoded, decode
from .image_data import Images

IMAGE_COLUMNS: Final = ("img", "image")
SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})")


class ParquetFiles(NamedTuple):
    """The files of each split, in the order of their names."""

    training: tuple[Path, ...]
    test: tuple[Path, ...]


def find_parquet(path: Path) -> ParquetFiles | None:
    """Return the parquet files ``train*`` and ``test*`` in a folder or in one folder below it; None where none is.

    Raises:
        ValueError: one split is missing, or a file of several.
    """
    for pattern in ("{}*.parquet", "*/{}*.parquet"):
        training, test = (tuple(sorted(path.glob(pattern.format(split)))) for split in ("train", "test"))
        if training or test:
            break
    else:
        return None
    for split, files in (("train", training), ("test", test)):
        _require_all_shards(path, split, files)
    return ParquetFiles(training, test)


def read_parquet(
    files: Sequence[Path],
    label_column: str,
    classes: tuple[str, ...],
    shape: tuple[int, int, int],
    workers: int | None,
) -> Images:
    """Return the images of some files, decoded.

    Raises:
        ValueError: a file is damaged, has other columns or other classes, or an image of another shape.
    """
    contents: list[Any] = []
    names: list[str] = []
    labels: list[torch.Tensor] = []
    for file in files:
        encoded, found = _read_columns(file, label_column, classes)
        contents += encoded
        names += [f"{file}, row {row}" for row in range(len(encoded))]
        labels.append(found)
    size = sum(map(len, contents))
    images = decode(Encoded(tuple(contents), tuple(names), size), workers=workers)
    if tuple(images.shape[1:]) != shape:
        raise ValueError(
            f"{files[0]} has images of the shape {tuple(images.shape[1:])}, where {shape} must be; use others"
        )
    return Images(images, torch.cat(labels))


def _read_columns(file: Path, label_column: str, classes: tuple[str, ...]) -> tuple[list[Any], torch.Tensor]:
    """Return encoded images and labels of a file."""
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
        image_column = next((name for name in IMAGE_COLUMNS if name in schema.names), IMAGE_COLUMNS[0])
        missing = [name for name in (image_column, label_column) if name not in schema.names]
        if missing:
            raise ValueError(
                f"{file} has no column {', '.join(missing)} but {', '.join(schema.names)}; use the hub's files"
            )
        _require_classes(file, schema.metadata or {}, label_column, classes)
        # One thread: what takes time is decoding.
        table = parquet.read_table(file, columns=[image_column, label_column], use_threads=False)
        images = table.column(image_column).combine_chunks().field("bytes").to_pylist()
        labels = torch.tensor(table.column(label_column).to_pylist(), dtype=torch.int64)
    except (pyarrow.ArrowException, OSError, KeyError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"{file} is damaged or in another layout ({type(error).__name__}: {error}); fetch it again"
        ) from error
    if not images:
        raise ValueError(f"{file} holds no image; fetch it again")
    if None in images:
        raise ValueError(f"{file}, row {images.index(None)} has no bytes of an image; use files that hold their images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise ValueError(f"{file} has labels from {low} to {high}, where there are {len(classes)} classes; use others")
    return images, labels


def _require_classes(file: Path, metadata: dict[bytes, bytes], label_column: str, classes: tuple[str, ...]) -> None:
    """Refuse a file that says that its labels mean other classes; one that says nothing is taken."""
    try:
        found = json.loads(metadata[b"huggingface"])["info"]["features"][label_column]["names"]
    except (KeyError, TypeError, ValueError):
        return
    if tuple(found) != classes:
        raise ValueError(
            f"{file} has the classes {', '.join(map(str, found))}, not {', '.join(classes)}; use the other data set"
        )


def _require_all_shards(path: Path, split: str, files: tuple[Path, ...]) -> None:
    if not files:
        raise ValueError(f"{path} has no file {split}*.parquet, where the other split is there; add it")
    if len({file.parent for file in files}) > 1:
        folders = ", ".join(sorted({str(file.parent) for file in files}))
        raise ValueError(f"{path} has {split}*.parquet in several folders, {folders}; give one of them")
    for file in files:
        shard = SHARD.search(file.stem)
        if shard is not None and int(shard[2]) != len(files):
            raise ValueError(
                f"{path} has {len(files)} of the {int(shard[2])} files that {file.name} is one of; add the others"
            )
