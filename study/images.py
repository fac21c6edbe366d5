"""The images of a run: a data set in three splits, on the device where the networks are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, final

import torch

from . import ranks
from .data import Batch, Images, Normalization, augment, batches, load
from .splitting import SPLIT_SEED, hold_out, thin_out
from .surroundings import Surroundings
from .task import ImageShape, Split

if TYPE_CHECKING:
    from .run import Run

# Data sets whose shape is known without them.
KNOWN_SHAPES: Final[dict[str, ImageShape]] = {
    "digits": ImageShape(1, 8, 10),
    "cifar10": ImageShape(3, 32, 10),
    "cifar100": ImageShape(3, 32, 100),
    "stl10": ImageShape(3, 48, 10),
}


@final
@dataclass(frozen=True, eq=False)
class ImageSplits:
    """A data set in the splits `training`, `validation` and `test`.

    Attributes:
        name: of the data set.
        shape: of its images, with the number of classes.
        training, validation, test: the splits.
        normalization: gives the training images mean 0 and deviation 1 in each channel.
    """

    name: str
    shape: ImageShape
    training: Images
    validation: Images
    test: Images
    normalization: Normalization

    def split(self, name: Split) -> Images:
        """Return one of the splits that networks are looked at on."""
        return self.validation if name == "validation" else self.test

    def batches(self, run: Run, start: int = 0) -> Iterator[Batch]:
        """Return a run's training batches of all processes, from a position on, augmented where the run says so.

        Raises:
            ValueError: the batch is larger than the training set.
        """
        augmentation = augment if run.settings.augment else None
        return batches(self.training, run.batch_size, run.seed, start=start, augmentation=augmentation)


def open_images(run: Run, surroundings: Surroundings) -> ImageSplits:
    """Return the images of a run, loaded once a process.

    Raises:
        ValueError: the data is not there or damaged.
    """
    settings, device = run.settings, ranks.own_device(surroundings.device)
    if surroundings.synthetic:
        return _synthetic(settings.data, image_shape(run, surroundings), run.batch_size, device)
    return _open(settings.data, surroundings.data, settings.size, settings.images, device)


def image_shape(run: Run, surroundings: Surroundings) -> ImageShape:
    """Return the shape of a run's images; see :func:`shape_of`."""
    return shape_of(run.settings.data, run.settings.size, surroundings)


def shape_of(name: str, size: int | None, surroundings: Surroundings) -> ImageShape:
    """Return the shape of a data set's images, from the data only where its name does not tell it.

    Raises:
        ValueError: the data is not there or damaged.
    """
    known = KNOWN_SHAPES.get(name)
    if known is None:
        return _open(name, surroundings.data, size, None, "cpu").shape
    return known if size is None else replace(known, size=size)


@lru_cache(maxsize=2)
def _open(name: str, directory: str | None, size: int | None, count: int | None, device: str) -> ImageSplits:
    data = load(name, directory, size=size)
    training = data.training if count is None else thin_out(data.training, count)
    return _splits(name, len(data.classes), (*hold_out(training), data.test), device)


def _synthetic(name: str, shape: ImageShape, batch_size: int, device: str) -> ImageSplits:
    """Return noise in the shape of a data set, enough for a batch: for measurements of time and memory."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    size = (batch_size, shape.channels, shape.size, shape.size)
    images = torch.randint(256, size, generator=generator, dtype=torch.uint8)
    labels = torch.randint(shape.classes, (batch_size,), generator=generator)
    return _splits(name, shape.classes, (Images(images, labels),) * 3, device)


def _splits(name: str, classes: int, parts: tuple[Images, ...], device: str) -> ImageSplits:
    training, validation, test = (part.to(device) for part in parts)
    shape = ImageShape(training.images.shape[1], training.images.shape[2], classes)
    return ImageSplits(name, shape, training, validation, test, Normalization.of(training.images))
