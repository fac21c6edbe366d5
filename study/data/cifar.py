"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 60,000 images of 32×32 pixels in colour, in ten or a hundred classes.

Read from the published archives, which are in Python's pickle format or in plain binary records, from the folders
that they hold, or from the parquet files of the Hugging Face hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch

from .cifar_files import PIXELS, Arrays, CifarLayout, cifar_layout
from .classes import CIFAR10, CIFAR100
from .hub_parquet import ParquetFiles, find_parquet, read_parquet
from .image_data import ImageData, Images
from .members import members, require_checksum, undamaged
from .resizing import resize_data
from .source import Archive, DataSource, Found, MissingDataError

SHAPE: Final = (3, 32, 32)


@final
@dataclass(frozen=True)
class Cifar(DataSource):
    """One of the two data sets.

    Attributes:
        layouts: the published archives.
        label_column: what parquet files call the labels.
        training_size: number of training images.
        test_size: number of test images.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    layouts: tuple[CifarLayout, ...]
    label_column: str
    training_size: int = 50_000
    test_size: int = 10_000
    image_shape: tuple[int, int, int] = SHAPE

    @property
    def archives(self) -> tuple[Archive, ...]:  # type: ignore[override]  # the base declares an attribute to be read
        """The published archives."""
        return tuple(layout.archive for layout in self.layouts)

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return an archive's folder at a path, or parquet files, or an archive, whichever of these is there first."""
        for layout in self.layouts:
            for folder in (path, path / layout.folder):
                if (folder / layout.test).is_file():
                    files = tuple(folder / name for name in (*layout.training, layout.test))
                    return Found(tuple(filter(Path.is_file, files)), partial(self._read_files, folder, layout, size))
        parquet = find_parquet(path)
        if parquet is not None:
            return Found((*parquet.training, *parquet.test), lambda: self._read_parquet(parquet, size, workers))
        for layout in self.layouts:
            file = path / layout.archive.file if path.is_dir() else path
            if file.is_file() and file.name == layout.archive.file:
                return Found((file,), partial(self._read_files, file, layout, size))
        expected = ", ".join(f"{layout.archive.file} or its folder {layout.folder}" for layout in self.layouts)
        raise MissingDataError(
            f"directory={str(path)!r} holds no {self.name}; it must hold {expected}, "
            "or parquet files named train*.parquet and test*.parquet"
        )

    def _read_files(self, path: Path, layout: CifarLayout, size: int | None) -> ImageData:
        require_checksum(path, self.archives)
        parts: dict[str, Arrays] = {}
        limit = max(self.training_size, self.test_size) * layout.bytes_an_image
        with undamaged(path):
            for member in members(path, (*layout.training, layout.test)):
                if member.size > limit:
                    raise ValueError(
                        f"{path}: {member.name} has {member.size} bytes, which is too large; fetch it again"
                    )
                parts[member.name] = self._checked(
                    *layout.parse(member.file.read(), f"{path}: {member.name}"), path, member.name
                )
        training = self._images([parts[name] for name in layout.training], self.training_size, path, "training")
        test = self._images([parts[layout.test]], self.test_size, path, "test")
        return resize_data(ImageData(self.name, self.classes, training, test), size)

    def _checked(self, pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], path: Path, name: str) -> Arrays:
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), PIXELS):
            raise ValueError(
                f"{path}: {name} has pixels of {pixels.dtype} in the shape {pixels.shape}, where uint8 in the shape "
                f"({len(labels)}, {PIXELS}) must be; fetch it again"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"{path}: {name} has labels from {labels.min()} to {labels.max()}, where {self.name} has "
                f"{len(self.classes)} classes; fetch it again"
            )
        return pixels, labels

    def _images(self, parts: list[Arrays], expected: int, path: Path, split: str) -> Images:
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if len(labels) != expected:
            raise ValueError(
                f"{path} has {len(labels)} {split} images, where {self.name} has {expected}; fetch it again"
            )
        return Images(torch.from_numpy(pixels.reshape(-1, *SHAPE)), torch.from_numpy(labels.astype(np.int64)))

    def _read_parquet(self, parquet: ParquetFiles, size: int | None, workers: int | None) -> ImageData:
        training, test = (
            read_parquet(files, self.label_column, self.classes, SHAPE, workers)
            for files in (parquet.training, parquet.test)
        )
        return resize_data(ImageData(self.name, self.classes, training, test), size)


SITE: Final = "https://www.cs.toronto.edu/~kriz"

# Files and sums as the data sets' page gives them: https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10_SOURCE: Final = Cifar(
    name="cifar10",
    description="60,000 photographs, 32×32 pixels in colour, ten classes",
    classes=CIFAR10,
    layouts=(
        cifar_layout(
            Archive("cifar-10-binary.tar.gz", f"{SITE}/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
            "cifar-10-batches-bin",
            tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            "test_batch.bin",
            1,
        ),
        cifar_layout(
            Archive("cifar-10-python.tar.gz", f"{SITE}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
            "cifar-10-batches-py",
            tuple(f"data_batch_{number}" for number in range(1, 6)),
            "test_batch",
            "labels",
        ),
    ),
    label_column="label",
)

CIFAR100_SOURCE: Final = Cifar(
    name="cifar100",
    description="60,000 photographs, 32×32 pixels in colour, a hundred classes",
    classes=CIFAR100,
    layouts=(
        cifar_layout(
            Archive("cifar-100-binary.tar.gz", f"{SITE}/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
            "cifar-100-binary",
            ("train.bin",),
            "test.bin",
            2,
        ),
        cifar_layout(
            Archive("cifar-100-python.tar.gz", f"{SITE}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
            "cifar-100-python",
            ("train",),
            "test",
            "fine_labels",
        ),
    ),
    label_column="fine_label",
)
