"""STL-10 (Coates, Ng and Lee 2011): 113,000 images of 96×96 pixels in three colours, 13,000 of them in ten classes.

Read from the published archive of plain binary files, or from the folder that it holds. A file of pixels has the
channels of an image one after the other, and each channel column by column.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from .classes import STL10
from .image_data import ImageData, Images
from .members import Member, members, require_checksum, undamaged
from .resizing import resize
from .source import Archive, DataSource, Found, MissingDataError

EDGE: Final = 96
BYTES_AN_IMAGE: Final = 3 * EDGE * EDGE
# Images that are read and resized at once, so that the largest file, of 2.8 GB, is never in memory as it is.
PIECE: Final = 500

# torchvision (torchvision/datasets/stl10.py) publishes this sum; the data set's page gives none.
ARCHIVE: Final = Archive(
    "stl10_binary.tar.gz",
    "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    "91f7769df0f17e558f3565bffb0c7dfb",
)
FOLDER: Final = "stl10_binary"


@final
@dataclass(frozen=True)
class Stl10(DataSource):
    """The data set by its labelled images, or by the unlabelled ones, which make a single class.

    Attributes:
        training_file: the file of training images.
        training_labels: the file of their labels; None where they have none.
        test_labels: the file of the test images' labels; None where these are not told apart either.
        training_size: number of training images.
        test_size: number of test images.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    training_file: str
    training_labels: str | None
    test_labels: str | None
    training_size: int
    test_size: int = 8_000
    image_shape: tuple[int, int, int] = (3, 48, 48)
    archives: tuple[Archive, ...] = (ARCHIVE,)

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the folder's files at a path, or the archive."""
        names = tuple(name for name in self._files if name is not None)
        for folder in (path, path / FOLDER):
            if (folder / self.training_file).is_file():
                files = tuple(filter(Path.is_file, (folder / name for name in names)))
                return Found(files, partial(self._read, folder, names, size))
        file = path / ARCHIVE.file if path.is_dir() else path
        if file.is_file() and file.name == ARCHIVE.file:
            return Found((file,), partial(self._read, file, names, size))
        raise MissingDataError(
            f"directory={str(path)!r} holds no {self.name}; it must hold {ARCHIVE.file} or its folder {FOLDER}"
        )

    @property
    def _files(self) -> tuple[str | None, ...]:
        return self.training_file, self.training_labels, "test_X.bin", self.test_labels

    def _read(self, path: Path, names: tuple[str, ...], size: int | None) -> ImageData:
        require_checksum(path, self.archives)
        counts = dict(zip(self._files, (self.training_size,) * 2 + (self.test_size,) * 2, strict=True))
        parts: dict[str | None, Tensor] = {}
        with undamaged(path):
            for member in members(path, names):
                if member.name.endswith("X.bin"):
                    parts[member.name] = _pixels(path, member, counts[member.name], size or self.image_shape[1])
                else:
                    parts[member.name] = _labels(path, member, counts[member.name])
        training, test = (
            Images(parts[images], torch.zeros(counts[images], dtype=torch.int64) if labels is None else parts[labels])
            for images, labels in (self._files[:2], self._files[2:])
        )
        return ImageData(self.name, self.classes, training, test)


def _pixels(path: Path, member: Member, count: int, size: int) -> Tensor:
    _require_size(path, member, count * BYTES_AN_IMAGE)
    images = torch.empty((count, 3, size, size), dtype=torch.uint8)
    for start in range(0, count, PIECE):
        piece = images[start : start + PIECE]
        content = member.file.read(len(piece) * BYTES_AN_IMAGE)
        if len(content) != len(piece) * BYTES_AN_IMAGE:
            raise EOFError(f"{member.name} ends early")
        columns = torch.from_numpy(
            np.frombuffer(content, np.uint8).reshape(-1, 3, EDGE, EDGE).transpose(0, 1, 3, 2).copy()
        )
        piece.copy_(resize(columns, size))
    return images


def _labels(path: Path, member: Member, count: int) -> Tensor:
    _require_size(path, member, count)
    labels = np.frombuffer(member.file.read(), np.uint8).astype(np.int64) - 1  # the files count from 1
    if labels.min() < 0 or labels.max() >= len(STL10):
        raise ValueError(
            f"{path}: {member.name} has labels from {labels.min() + 1} to {labels.max() + 1}, where 1 to "
            f"{len(STL10)} must be; fetch it again"
        )
    return torch.from_numpy(labels)


def _require_size(path: Path, member: Member, expected: int) -> None:
    if member.size != expected:
        raise ValueError(f"{path}: {member.name} has {member.size} bytes, where {expected} must be; fetch it again")


STL10_SOURCE: Final = Stl10(
    name="stl10",
    description="13,000 photographs, 96×96 pixels in colour resized to 48×48, ten classes",
    classes=STL10,
    training_file="train_X.bin",
    training_labels="train_y.bin",
    test_labels="test_y.bin",
    training_size=5_000,
)

UNLABELLED_SOURCE: Final = Stl10(
    name="stl10-unlabelled",
    description="STL-10's 100,000 training images without classes, for GANs; the test images are those of stl10",
    classes=("unlabelled",),
    training_file="unlabeled_X.bin",
    training_labels=None,
    test_labels=None,
    training_size=100_000,
)
