"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) and STL-10 (Coates, Ng and Lee 2011), as their authors publish them.

Their archives hold plain binary files: records of bytes, in numbers that are known. CIFAR is read from the parquet
files of the Hugging Face hub as well.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, final

import numpy as np
import torch
from torch import Tensor

from .._plain import shown
from .encoded import ParquetFiles, find_parquet, read_parquet
from .image_data import ImageData, Images, resize
from .source import Archive, DataSource, Found, MissingDataError

CIFAR_SHAPE: Final = (3, 32, 32)
CIFAR_PIXELS: Final = 3 * 32 * 32
STL10_EDGE: Final = 96
STL10_PIXELS: Final = 3 * STL10_EDGE**2
# Images that are read and resized at once, so that STL-10's largest file, of 2.8 GB, is never in memory as it is.
PIECE: Final = 500


@final
@dataclass(frozen=True, kw_only=True)
class Cifar(DataSource):
    """60,000 images of 32×32 pixels in colour. A record has labels, the last of which counts, and then the pixels.

    Attributes:
        name: of the data set.
        training_files, test_file: the files in the archive.
        label_bytes: labels in a record.
        label_column: what parquet files call the labels.
        training_size, test_size: numbers of images.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    archive: Archive
    training_files: tuple[str, ...]
    test_file: str
    label_bytes: int
    label_column: str
    training_size: int = 50_000
    test_size: int = 10_000
    image_shape: tuple[int, int, int] = CIFAR_SHAPE

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the archive's folder at a path, or parquet files, or the archive, whichever is there first."""
        place = _folder_in(path, self.archive, self.test_file)
        parquet = None if place else find_parquet(path)
        if parquet is not None:
            return Found((*parquet["train"], *parquet["test"]), partial(self._read_parquet, parquet, workers))
        place = place or _archive_in(path, self.archive.file)
        if place is not None:
            return _found(place, (*self.training_files, self.test_file), partial(self._read_files, place))
        pickle = self.test_file.removesuffix(".bin")
        if _archive_in(path, self.archive.outdated) or any((*path.glob(pickle), *path.glob(f"cifar-*/{pickle}"))):
            raise MissingDataError(
                f"directory={str(path)!r} holds {self.name} as Python's pickles, which are programs and are not read; "
                f"give the binary archive {self.archive.file} or its folder {self.archive.folder}"
            )
        raise MissingDataError(
            f"directory={str(path)!r} holds no {self.name}; it must hold {self.archive.file} or its folder "
            f"{self.archive.folder}, or parquet files named train*.parquet and test*.parquet"
        )

    def _read_files(self, path: Path) -> ImageData:
        record = self.label_bytes + CIFAR_PIXELS
        share = self.training_size // len(self.training_files)
        sizes = dict.fromkeys(self.training_files, share * record) | {self.test_file: self.test_size * record}
        parts: dict[str, Images] = {}
        for name, file in _open_files(path, self.archive, sizes):
            records = np.frombuffer(file.read(), np.uint8).reshape(-1, record)
            pixels = torch.from_numpy(records[:, self.label_bytes :].reshape(-1, *CIFAR_SHAPE).copy())
            parts[name] = Images(pixels, _labels(records[:, self.label_bytes - 1], 0, self.classes, path, name))
        training = [parts[name] for name in self.training_files]
        images, labels = torch.cat([part.images for part in training]), torch.cat([part.labels for part in training])
        return ImageData(self.name, self.classes, Images(images, labels), parts[self.test_file])

    def _read_parquet(self, parquet: ParquetFiles, workers: int | None) -> ImageData:
        training, test = (
            read_parquet(parquet[split], self.label_column, self.classes, CIFAR_SHAPE, workers)
            for split in ("train", "test")
        )
        return ImageData(self.name, self.classes, training, test)


@final
@dataclass(frozen=True, kw_only=True)
class Stl10(DataSource):
    """Images of 96×96 pixels in colour: those with labels, or those without, which make a single class.

    A file of pixels has the channels of an image one after the other, and each channel column by column. A file of
    labels counts from 1.

    Attributes:
        name: of the data set.
        training_file: the file of training images.
        label_files: those of the labels of training and test images; none where they are not told apart.
        training_size, test_size: numbers of images.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    archive: Archive
    training_file: str
    label_files: tuple[str, ...]
    training_size: int
    test_size: int = 8_000
    image_shape: tuple[int, int, int] = (3, 48, 48)

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the archive's folder at a path, or the archive."""
        place = _folder_in(path, self.archive, self.training_file) or _archive_in(path, self.archive.file)
        if place is None:
            raise MissingDataError(
                f"directory={str(path)!r} holds no {self.name}; it must hold {self.archive.file} or its folder "
                f"{self.archive.folder}"
            )
        names = (self.training_file, "test_X.bin", *self.label_files)
        return _found(place, names, partial(self._read, place, size or self.image_shape[1]))

    def _read(self, path: Path, size: int) -> ImageData:
        counts = {self.training_file: self.training_size, "test_X.bin": self.test_size}
        sizes = {name: count * STL10_PIXELS for name, count in counts.items()}
        sizes |= dict(zip(self.label_files, counts.values(), strict=False))
        parts: dict[str, Tensor] = {}
        for name, file in _open_files(path, self.archive, sizes):
            if name in counts:
                parts[name] = _columnwise(file, counts[name], size)
            else:
                parts[name] = _labels(np.frombuffer(file.read(), np.uint8), 1, self.classes, path, name)
        images = [parts[name] for name in counts]
        labels = [parts[name] for name in self.label_files] or [torch.zeros(len(part)).long() for part in images]
        return ImageData(self.name, self.classes, *map(Images, images, labels))


def _folder_in(path: Path, archive: Archive, file: str) -> Path | None:
    return next((folder for folder in (path, path / archive.folder) if (folder / file).is_file()), None)


def _archive_in(path: Path, name: str) -> Path | None:
    file = path / name if path.is_dir() else path
    return file if file.is_file() and file.name == name else None


def _found(place: Path, names: tuple[str, ...], read: partial[ImageData]) -> Found:
    return Found(tuple(filter(Path.is_file, (place / name for name in names))) if place.is_dir() else (place,), read)


def _open_files(path: Path, archive: Archive, sizes: Mapping[str, int]) -> Iterator[tuple[str, IO[bytes]]]:
    """Open files of these names and sizes one after the other, in a folder, or in the published archive as it lies."""
    missing = dict(sizes)
    for name, size, file in _folder_files(path, sizes) if path.is_dir() else _archive_files(path, archive, sizes):
        if size != missing.pop(name, None):
            raise ValueError(f"{shown(path)}: {name} has {size} bytes, where {sizes[name]} must be; fetch it again")
        yield name, file
    if missing:
        raise ValueError(f"{shown(path)} lacks {', '.join(missing)}; fetch {archive.file} again, and all that it holds")


def _folder_files(path: Path, names: Mapping[str, int]) -> Iterator[tuple[str, int, IO[bytes]]]:
    for file in filter(Path.is_file, map(path.joinpath, names)):
        with file.open("rb") as opened:
            yield file.name, file.stat().st_size, opened


def _archive_files(path: Path, archive: Archive, names: Mapping[str, int]) -> Iterator[tuple[str, int, IO[bytes]]]:
    import pooch  # of the extra `study`

    found = pooch.file_hash(str(path), alg="md5")
    if found != archive.md5:
        raise ValueError(
            f"{shown(path)} has the MD5 sum {found}, where the published {archive.file} has {archive.md5}; "
            f"fetch it again from {archive.url}"
        )
    with tarfile.open(path, "r|*") as opened:
        for entry in opened:
            name = PurePosixPath(entry.name).name
            file = opened.extractfile(entry) if name in names else None
            if file is not None:
                yield name, entry.size, file


def _labels(content: np.ndarray, first: int, classes: tuple[str, ...], path: Path, file: str) -> Tensor:
    """Return labels that a file counts from a first one, counted from 0."""
    low, high, last = content.min(), content.max(), first + len(classes) - 1
    if low < first or high > last:
        raise ValueError(
            f"{shown(path)}: {file} has labels from {low} to {high}, where {first} to {last} must be; fetch it again"
        )
    return torch.from_numpy(content.astype(np.int64) - first)


def _columnwise(file: IO[bytes], count: int, size: int) -> Tensor:
    images = torch.empty((count, 3, size, size), dtype=torch.uint8)
    for piece in images.split(PIECE):
        content = np.frombuffer(file.read(len(piece) * STL10_PIXELS), np.uint8)
        columns = content.reshape(-1, 3, STL10_EDGE, STL10_EDGE).transpose(0, 1, 3, 2).copy()
        piece.copy_(resize(torch.from_numpy(columns), size))
    return images


# The hundred fine classes, which the authors numbered in the order of the alphabet.
FINE_CLASSES: Final = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""


def _cifar_archive(number: int, md5: str, folder: str) -> Archive:
    # Files and sums as the data sets' page gives them: https://www.cs.toronto.edu/~kriz/cifar.html
    file = f"cifar-{number}-binary.tar.gz"
    return Archive(file, f"https://www.cs.toronto.edu/~kriz/{file}", md5, folder, f"cifar-{number}-python.tar.gz")


CIFAR10: Final = Cifar(
    name="cifar10",
    description="60,000 photographs, 32×32 pixels in colour, ten classes",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    archive=_cifar_archive(10, "c32a1d4ab5d03f1284b67883e8d87530", "cifar-10-batches-bin"),
    training_files=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test_file="test_batch.bin",
    label_bytes=1,
    label_column="label",
)

CIFAR100: Final = Cifar(
    name="cifar100",
    description="60,000 photographs, 32×32 pixels in colour, a hundred classes",
    classes=tuple(FINE_CLASSES.split()),
    archive=_cifar_archive(100, "03b5dce01913d631647c71ecec9e9cb8", "cifar-100-binary"),
    training_files=("train.bin",),
    test_file="test.bin",
    label_bytes=2,
    label_column="fine_label",
)

STL10: Final = Stl10(
    name="stl10",
    description="13,000 photographs, 96×96 pixels in colour resized to 48×48, ten classes",
    classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    # torchvision (torchvision/datasets/stl10.py) publishes this sum; the data set's page gives none.
    archive=Archive(
        "stl10_binary.tar.gz",
        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        "91f7769df0f17e558f3565bffb0c7dfb",
        "stl10_binary",
    ),
    training_file="train_X.bin",
    label_files=("train_y.bin", "test_y.bin"),
    training_size=5_000,
)

UNLABELLED: Final = Stl10(
    name="stl10-unlabelled",
    description="STL-10's 100,000 training images without classes, for GANs; the test images are those of stl10",
    classes=("unlabelled",),
    archive=STL10.archive,
    training_file="unlabeled_X.bin",
    label_files=(),
    training_size=100_000,
)
