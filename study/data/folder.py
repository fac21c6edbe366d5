"""Images of one's own: a folder or a zip archive with a folder for each class."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, final

import numpy as np
import torch

from .._plain import shown
from .encoded import decode
from .image_data import ImageData, Images
from .source import DataSource, Found, MissingDataError

ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
# What the folders of splits may be called.
ROLES: Final = {"train": "training", "training": "training", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)

# Where there is no folder of test images, a fifth of every class is taken.
TEST_SHARE: Final = 0.2
SPLIT_SEED: Final = 0

# What an entry of a zip archive may unpack to, 256 MB, which holds the pixels that Pillow takes at most; and all of its
# images together: twenty times the archive, as images are compressed by themselves, or 4 GB.
LARGEST_ENTRY: Final = 1 << 28
LARGEST_RATIO: Final = 20
LARGEST_TOTAL: Final = 1 << 32


class Listing(NamedTuple):
    """What a folder or archive holds: paths of images in order, and all its folders, with those that lie in others."""

    images: list[PurePosixPath]
    folders: set[PurePosixPath]


@final
@dataclass(frozen=True)
class ImageFolder(DataSource):
    """Images as ``class/name.png``, or as ``train/class/name.png`` and ``test/class/name.png``.

    What a folder ``val`` holds is the test split if there is no ``test``, and joins the training if there is one.
    """

    description: str = "images of your own, one folder a class, in a folder or a zip archive"

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the images in a folder or a zip archive."""
        is_archive = path.is_file() and zipfile.is_zipfile(path)
        listing = _in_archive(path) if is_archive else _in_folder(path)
        if not listing.images:
            raise MissingDataError(
                f"directory={str(path)!r} holds no images; it must be a folder or a zip archive with a folder for each "
                f"class, and images in it that end in {', '.join(sorted(ENDINGS))}"
            )
        files = (path,) if is_archive else tuple(path / file for file in listing.images)
        return Found(files, lambda: _read(path, is_archive, listing, size, workers))


def _read(path: Path, is_archive: bool, listing: Listing, size: int | None, workers: int | None) -> ImageData:
    classes, labels, is_training, is_test = _splits(path, listing)

    def images(mask: np.ndarray) -> Images:
        files = [listing.images[position] for position in np.flatnonzero(mask)]
        names = [shown(f"{path}: {file}") for file in files]
        if not is_archive:
            pixels = decode(names, lambda position: path / files[position], size, workers)
        else:
            with zipfile.ZipFile(path) as archive:
                pixels = decode(names, lambda position: archive.read(str(files[position])), size, workers)
        return Images(pixels, torch.from_numpy(labels[mask]))

    parts = [images(mask) for mask in (is_training, is_test)]
    channels = max(part.images.shape[1] for part in parts)  # in colour if one of them is
    training, test = (Images(part.images.expand(-1, channels, -1, -1).contiguous(), part.labels) for part in parts)
    return ImageData("folder", classes, training, test)


def stratified_split(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a mask of the given share of every class, and of at least one of each class that has two or more."""
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    _, counts = np.unique(labels, return_counts=True)
    for members in np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1]):
        count = min(max(1, round(share * len(members))), len(members) - 1)
        chosen[generator.permutation(members)[:count]] = True
    return chosen


def _in_folder(path: Path) -> Listing:
    found = [(PurePosixPath(entry.relative_to(path).as_posix()), entry) for entry in path.rglob("*")]
    images = sorted(name for name, entry in found if _is_image(name) and entry.is_file())
    return Listing(images, {name for name, entry in found if entry.is_dir()})


def _in_archive(path: Path) -> Listing:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {PurePosixPath(entry.filename): entry for entry in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{shown(path)} is damaged ({error}); pack it again") from None
    sizes = {name: entry.file_size for name, entry in entries.items() if _is_image(name) and not entry.is_dir()}
    largest = max(sizes, key=sizes.__getitem__, default=None)
    if largest is not None and sizes[largest] > LARGEST_ENTRY:
        raise ValueError(
            f"{shown(path)}: {shown(largest)} would unpack to {sizes[largest]} bytes, where an image may have at most "
            f"{LARGEST_ENTRY}; remove it"
        )
    total, most = sum(sizes.values()), max(LARGEST_TOTAL, LARGEST_RATIO * path.stat().st_size)
    if total > most:
        raise ValueError(
            f"{shown(path)} would unpack to {total} bytes, where its size allows {most}; unpack it yourself and give "
            "the folder, if you trust it"
        )
    folders = {folder for name, entry in entries.items() for folder in (*name.parents[:-1], *[name][: entry.is_dir()])}
    return Listing(sorted(sizes), folders)


def _is_image(path: PurePosixPath) -> bool:
    """Tell by the name, leaving out what systems hide in folders and archives."""
    return path.suffix.lower() in ENDINGS and not _is_hidden(path)


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _splits(path: Path, listing: Listing) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes, the images' labels, and masks of training and test."""
    place = shown(path)
    above = _common_folders(listing.images)
    parts = [file.parts[above:] for file in listing.images]
    named = all(part[0].lower() in ROLES for part in parts)
    for file, part in zip(listing.images, parts, strict=True):
        if len(part) < 2 + named:
            raise ValueError(f"{place}: {shown(file)} lies in no folder of a class; move it into one")
    roles = np.array([ROLES[part[0].lower()] if named else "training" for part in parts])
    roles[roles == "validation"] = "training" if (roles == "test").any() else "test"
    is_training, is_test = roles == "training", roles == "test"
    if not is_training.any():
        raise ValueError(f"{place} has images to test on and none to train on; name their folder train")
    names = [part[named] for part in parts]
    classes = sorted({name for name, own in zip(names, is_training, strict=True) if own})
    position = {name: label for label, name in enumerate(classes)}
    unknown = sorted(set(names) - position.keys())
    if unknown:
        raise ValueError(
            f"{place} has test images of {shown(', '.join(unknown))}, and none to train on; add or remove some"
        )
    # A folder that lies where those of classes do and holds no image: its class would be lost.
    beside = {file.parts[: above + named] for file in listing.images}
    empty = sorted(
        shown(folder)
        for folder in listing.folders
        if folder.parts[:-1] in beside and folder.name not in position and not _is_hidden(folder)
    )
    if empty:
        raise ValueError(
            f"{place} holds no images of the class {', '.join(empty)}; add some that end in "
            f"{', '.join(sorted(ENDINGS))}, or remove the folder"
        )
    labels = np.array([position[name] for name in names], dtype=np.int64)
    if not is_test.any():
        is_test = stratified_split(labels, TEST_SHARE, SPLIT_SEED)
        is_training = ~is_test
    if not is_test.any():
        raise ValueError(f"{place} has no class with two images, one of them to test on; add some")
    return tuple(classes), labels, is_training, is_test


def _common_folders(files: list[PurePosixPath]) -> int:
    """Return how many folders lie above those of classes and splits, as around the content of many archives."""
    above = 0
    while all(len(file.parts) > above + 2 for file in files):
        folders = {file.parts[above].lower() for file in files}
        if len(folders) > 1 or folders <= ROLES.keys():
            break
        above += 1
    return above
