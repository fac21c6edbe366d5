"""Images of one's own: a folder or a zip archive with a folder for each class."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, final

import numpy as np
import torch

from .decoding import Encoded, decode
from .image_data import ImageData, Images
from .source import Archive, DataSource, Found, MissingDataError

ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
TRAINING_FOLDERS: Final = frozenset({"train", "training"})
VALIDATION_FOLDERS: Final = frozenset({"val", "valid", "validation"})
TEST_FOLDERS: Final = frozenset({"test", "testing"})

# Where there is no folder of test images, a fifth of every class is taken.
TEST_SHARE: Final = 0.2
SPLIT_SEED: Final = 0


class ImageFile(NamedTuple):
    """An image in the folder or archive: its path inside, and its size in bytes."""

    path: PurePosixPath
    size: int


class Listing(NamedTuple):
    """What a folder or archive holds: its images in order, and all its folders, with those that lie in others."""

    images: tuple[ImageFile, ...]
    folders: frozenset[PurePosixPath]


class Split(NamedTuple):
    """Files of one split with the class of each."""

    files: tuple[ImageFile, ...]
    labels: np.ndarray


@final
@dataclass(frozen=True)
class ImageFolder(DataSource):
    """Images as ``class/name.png``, or as ``train/class/name.png`` and ``test/class/name.png``.

    What a folder ``val`` holds is the test split if there is no ``test``, and joins the training if there is one.
    """

    name: str = "folder"
    description: str = "images of your own, one folder a class, in a folder or a zip archive"
    classes: None = None
    image_shape: None = None
    archives: tuple[Archive, ...] = ()

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the images in a folder or a zip archive."""
        is_archive = path.is_file() and zipfile.is_zipfile(path)
        listing = _in_archive(path) if is_archive else _in_folder(path)
        if not listing.images:
            raise MissingDataError(
                f"directory={str(path)!r} holds no images; it must be a folder or a zip archive with a folder for each "
                f"class, and images in it that end in {', '.join(sorted(ENDINGS))}"
            )
        known = (path,) if is_archive else tuple(path / file.path for file in listing.images)
        return Found(known, partial(self._read, path, is_archive, listing, size, workers))

    def _read(self, path: Path, is_archive: bool, listing: Listing, size: int | None, workers: int | None) -> ImageData:
        classes, training, test = _splits(path, listing)

        def images(split: Split) -> Images:
            paths = tuple(str(file.path if is_archive else path / file.path) for file in split.files)
            names = tuple(f"{path}: {file.path}" for file in split.files)
            archive = str(path) if is_archive else None
            encoded = Encoded(paths, names, sum(file.size for file in split.files), archive)
            return Images(decode(encoded, size, workers), torch.from_numpy(split.labels))

        return ImageData(self.name, classes, *_of_equal_channels(images(training), images(test)))


def stratified_split(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a mask of the given share of every class, and of at least one of each class that has two or more."""
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        chosen[generator.permutation(members)[:count]] = True
    return chosen


def _in_folder(path: Path) -> Listing:
    found = [(PurePosixPath(entry.relative_to(path).as_posix()), entry) for entry in path.rglob("*")]
    images = (ImageFile(name, entry.stat().st_size) for name, entry in found if _is_image(name) and entry.is_file())
    return Listing(tuple(sorted(images)), frozenset(name for name, entry in found if entry.is_dir()))


def _in_archive(path: Path) -> Listing:
    with zipfile.ZipFile(path) as archive:
        entries = [(PurePosixPath(entry.filename), entry) for entry in archive.infolist()]
    images = (ImageFile(name, entry.file_size) for name, entry in entries if _is_image(name) and not entry.is_dir())
    folders = {folder for name, entry in entries for folder in (*name.parents[:-1], *[name][: entry.is_dir()])}
    return Listing(tuple(sorted(images)), frozenset(folders))


def _is_image(path: PurePosixPath) -> bool:
    """Tell by the name, leaving out what systems hide in folders and archives."""
    return path.suffix.lower() in ENDINGS and not _is_hidden(path)


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _splits(path: Path, listing: Listing) -> tuple[tuple[str, ...], Split, Split]:
    """Return the classes, and the files of training and test."""
    files = listing.images
    above = _common_folders(files)
    parts = [file.path.parts[above:] for file in files]
    named = {part[0].lower() for part in parts} <= TRAINING_FOLDERS | VALIDATION_FOLDERS | TEST_FOLDERS
    for file, part in zip(files, parts, strict=True):
        if len(part) < 2 + named:
            raise ValueError(f"{path}: {file.path} lies in no folder of a class; move it into one")
    first = np.array([part[0].lower() if named else "train" for part in parts])
    names = np.array([part[1 if named else 0] for part in parts])
    trains, tests = np.isin(first, list(TRAINING_FOLDERS)), np.isin(first, list(TEST_FOLDERS))
    validates = np.isin(first, list(VALIDATION_FOLDERS))
    if tests.any():
        trains |= validates
    else:
        tests = validates
    if not trains.any():
        raise ValueError(f"{path} has no folder of training images but {', '.join(sorted(set(first)))}; name one train")
    classes = tuple(sorted(set(names[trains])))
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise ValueError(f"{path} has test images of {', '.join(unknown)}, and none to train on; add or remove some")
    _require_images(path, listing, classes, above + named)
    labels = np.searchsorted(np.array(classes), names)
    if not tests.any():
        tests = stratified_split(labels, TEST_SHARE, SPLIT_SEED)
        trains = ~tests
    if not tests.any():
        raise ValueError(f"{path} has no class with two images, one of them to test on; add some")
    training, test = (
        Split(tuple(files[index] for index in np.flatnonzero(mask).tolist()), labels[mask].astype(np.int64))
        for mask in (trains, tests)
    )
    return tuple(map(str, classes)), training, test


def _require_images(path: Path, listing: Listing, classes: tuple[str, ...], level: int) -> None:
    """Refuse a folder that lies where those of classes do and holds no image, so that its class would be lost.

    Raises:
        ValueError: as said.
    """
    above = {file.path.parts[:level] for file in listing.images}
    empty = sorted(
        str(folder)
        for folder in listing.folders
        if folder.parts[:-1] in above and folder.name not in classes and not _is_hidden(folder)
    )
    if empty:
        raise ValueError(
            f"{path} holds no images of the class {', '.join(empty)}; add some that end in "
            f"{', '.join(sorted(ENDINGS))}, or remove the folder"
        )


def _common_folders(files: Sequence[ImageFile]) -> int:
    """Return how many folders lie above those of classes and splits, as around the content of many archives."""
    splits = TRAINING_FOLDERS | VALIDATION_FOLDERS | TEST_FOLDERS
    above = 0
    while all(len(file.path.parts) > above + 2 for file in files):
        folders = {file.path.parts[above].lower() for file in files}
        if len(folders) > 1 or folders <= splits:
            break
        above += 1
    return above


def _of_equal_channels(*parts: Images) -> Iterable[Images]:
    """Return the parts in colour if one of them is."""
    channels = max(part.images.shape[1] for part in parts)
    return [Images(part.images.expand(-1, channels, -1, -1).contiguous(), part.labels) for part in parts]


FOLDER_SOURCE: Final = ImageFolder()
