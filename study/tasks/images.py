"""The images of a run: a data set in three splits, on the device where the networks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple, final

import torch
from torch import Tensor

from .. import processes
from .._plain import require_known
from ..data import DATA, Batch, DataSource, Images, Normalization, augment, batches, fetch_missing, load
from ..data.folder import SPLIT_SEED
from ..data.own import VALIDATION_SHARE
from ..surroundings import Surroundings
from .case import TrainingCase
from .task import ImageShape, Split


def _known_shape(source: DataSource) -> ImageShape | None:
    if source.image_shape is None or source.classes is None:
        return None
    return ImageShape(source.image_shape[0], source.image_shape[1], len(source.classes))


# Built-in data sets whose shape is known without them.
KNOWN_SHAPES: Final[dict[str, ImageShape]] = {
    name: shape for name, source in DATA.items() if (shape := _known_shape(source)) is not None
}

# Settings of all tasks on images.
IMAGE_SETTINGS: Final = (
    *("data", "size", "images", "augment", "width"),
    *("precision", "accumulation", "weight_decay", "averaging"),
)

# Data sets without classes, each with the one in the same files that has classes for the like of its images.
LABELLED: Final[dict[str, str]] = {"stl10-unlabelled": "stl10"}


class Labelled(NamedTuple):
    """Images, and how many classes they are in."""

    images: Images
    classes: int


@final
@dataclass(frozen=True, eq=False)
class ImageSplits:
    """A data set in the splits `training`, `validation` and `test`.

    Attributes:
        name: of the data set.
        shape: of its images, with the number of classes.
        training, validation, test: the splits.
        normalization: gives the training images mean 0 and deviation 1 in each channel.
        labelled: what the classifier learns from that scores generated images: the training images, or where these
            have no classes those of another data set.
        fingerprint: checksum of all that the data set holds, whatever part of it is trained on; None for noise.
    """

    name: str
    shape: ImageShape
    training: Images
    validation: Images
    test: Images
    normalization: Normalization
    labelled: Labelled
    fingerprint: str | None = None

    def split(self, name: Split) -> Images:
        """Return one of the splits that networks are looked at on."""
        return self.validation if name == "validation" else self.test

    def batches(self, seed: int, batch_size: int, augmented: bool, start: int = 0) -> Iterator[Batch]:
        """Return training batches of all processes from a position on, augmented or not."""
        augmentation = augment if augmented else None
        return batches(self.training, batch_size, seed, start=start, augmentation=augmentation)


def open_images(case: TrainingCase, surroundings: Surroundings) -> ImageSplits:
    """Return the images of a case, loaded once a process."""
    settings, device = case.settings, processes.own_device(surroundings.device)
    if surroundings.synthetic:
        return _synthetic(settings.data, image_shape(case, surroundings), case.batch_size, device)
    return _open(settings.data, surroundings.data, settings.size, settings.images, device)


def image_shape(case: TrainingCase, surroundings: Surroundings) -> ImageShape:
    """Return the shape of a case's images; see :func:`shape_of`."""
    return shape_of(case.settings.data, case.settings.size, surroundings)


def shape_of(name: str, size: int | None, surroundings: Surroundings) -> ImageShape:
    """Return the shape of a data set's images, from the data only where its name does not tell it."""
    known = _known_shape(DATA[require_known("data", name, DATA)])
    if known is None:
        return _open(name, surroundings.data, size, None, "cpu").shape
    return known if size is None else replace(known, size=size)


def data_fingerprint(name: str, size: int | None, surroundings: Surroundings, images: int | None = None) -> str | None:
    """Return a checksum of all images, labels and classes of a data set; None for one that is bundled.

    Where the surroundings say so, data that is not there is fetched before.

    Args:
        name: of the data set.
        size: height and width that its images get.
        surroundings: where it lies, and whether it may be fetched.
        images: number of training images that are wanted of it; the checksum is of all whatever it is.

    Raises:
        ValueError: the name is unknown, or the data is not there, damaged, too little, or not to be fetched.
        OSError: it cannot be fetched.
    """
    source = DATA[require_known("data", name, DATA)]
    if surroundings.download:
        for needed in dict.fromkeys((name, LABELLED.get(name, name))):
            fetch_missing(needed, surroundings.data)
    if source.bundled and surroundings.data is None and images is None:
        return None
    splits = _open(name, surroundings.data, size, images, "cpu")
    return None if source.bundled else splits.fingerprint


def require_images(case: TrainingCase, surroundings: Surroundings) -> str | None:
    """Refuse a batch that is larger than the training split; return :func:`data_fingerprint`."""
    settings = case.settings
    checksum = data_fingerprint(settings.data, settings.size, surroundings, settings.images)
    count = len(_open(settings.data, surroundings.data, settings.size, settings.images, "cpu").training)
    if case.batch_size > count:
        raise ValueError(
            f"batch_size must be at most {count}, the number of images in the training split, got {case.batch_size}"
        )
    return checksum


@lru_cache(maxsize=2)
def _open(name: str, directory: str | None, size: int | None, count: int | None, device: str) -> ImageSplits:
    place = f"data {name!r}" if directory is None else f"data {directory!r}"
    data = load(name, directory, size=size)
    _, height, width = data.image_shape
    if height != width:
        raise ValueError(
            f"{place} must have square images for networks, got {height}×{width}, height times width; give a size "
            f"that they are cropped and resized to, such as --size {min(height, width)}"
        )
    training = data.training if count is None else thin_out(data.training, count)
    parts = (*hold_out(training, data.classes, place), data.test)
    splits = _splits(name, len(data.classes), parts, device, data.checksum)
    return splits if name not in LABELLED else _with_labelled(splits, directory, size, device)


def _with_labelled(splits: ImageSplits, directory: str | None, size: int | None, device: str) -> ImageSplits:
    """Return a data set without classes with those of another one, in the split that studies of that one have."""
    name = LABELLED[splits.name]
    try:
        data = load(name, directory, size=size)
    except ValueError as error:
        raise ValueError(f"data {splits.name!r} needs that of {name!r}, whose classes score images: {error}") from None
    labelled = Labelled(hold_out(data.training, data.classes)[0].to(device), len(data.classes))
    return replace(splits, labelled=labelled, fingerprint=f"{splits.fingerprint}-{data.checksum}")


def _synthetic(name: str, shape: ImageShape, batch_size: int, device: str) -> ImageSplits:
    """Return noise in the shape of a data set, enough for a batch: for measurements of time and memory."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    size = (batch_size, shape.channels, shape.size, shape.size)
    images = torch.randint(256, size, generator=generator, dtype=torch.uint8)
    labels = torch.randint(shape.classes, (batch_size,), generator=generator)
    return _splits(name, shape.classes, (Images(images, labels),) * 3, device)


def _splits(
    name: str, classes: int, parts: tuple[Images, ...], device: str, fingerprint: str | None = None
) -> ImageSplits:
    training, validation, test = (part.to(device) for part in parts)
    shape = ImageShape(training.images.shape[1], training.images.shape[2], classes)
    normalization = Normalization.of(training.images)
    labelled = Labelled(training, classes)
    return ImageSplits(name, shape, training, validation, test, normalization, labelled, fingerprint)


def hold_out(whole: Images, classes: Sequence[str], place: str = "data") -> tuple[Images, Images]:
    """Return the training images without a tenth of every class, and that tenth: at least one image of each.

    Raises:
        ValueError: a class has but one image.
    """
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    held = torch.zeros(len(whole), dtype=torch.bool)
    for label, members in _classes(whole):
        if len(members) < 2:
            raise ValueError(
                f"{place} must have two training images of each class, one of which is held out, got one of "
                f"{classes[label]!r}; add another, or leave the class out"
            )
        count = max(1, round(VALIDATION_SHARE * len(members)))
        held[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return whole.part((~held).nonzero().flatten()), whole.part(held.nonzero().flatten())


def thin_out(whole: Images, count: int) -> Images:
    """Return so many of the images, in their order: the first of every class, in equal shares of the classes' sizes.

    Raises:
        ValueError: there are not so many, or fewer than two of each class would be left.
    """
    if count > len(whole):
        raise ValueError(f"images must be at most {len(whole)}, the number of training images, got {count}")
    # How far an image is through its class: whatever number of images is taken then, all classes have got equally far.
    progress = torch.empty(len(whole), dtype=torch.float64)
    for _, members in _classes(whole):
        progress[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    order = progress.argsort(stable=True)
    places = order.argsort()
    classes = _classes(whole)
    enough = 1 + max(int(places[members[:2]].max()) for _, members in classes)
    if count < enough:
        raise ValueError(
            f"images must be enough for two of each of the {len(classes)} classes, got {count}; give at least {enough}"
        )
    return whole.part(order[:count].sort().values)


def _classes(images: Images) -> list[tuple[int, Tensor]]:
    """Return the labels that occur, each with the positions of its images, in one pass over all."""
    ordered, positions = images.labels.sort(stable=True)
    labels, counts = ordered.unique_consecutive(return_counts=True)
    return list(zip(labels.tolist(), positions.split(counts.tolist()), strict=True))
