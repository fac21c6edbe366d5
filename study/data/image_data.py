"""Images with labels, a data set of them, its checksum, and other sizes of its images."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self, final

import torch
from torch import Tensor
from torch.nn.functional import interpolate


@final
@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size with their labels.

    Attributes:
        images: ``(n, C, H, W)``, uint8, with C = 1 (grey) or 3 (red, green, blue).
        labels: ``(n,)``, int64, at least 0.

    Raises:
        TypeError: a tensor has another dtype.
        ValueError: the shapes do not fit, or there is no image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for name, tensor, dtype in (("images", self.images, torch.uint8), ("labels", self.labels, torch.int64)):
            if tensor.dtype != dtype:
                raise TypeError(f"{name} must be of {dtype}, got {tensor.dtype}; convert with .to({dtype})")
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[1] not in (1, 3) or 0 in shape:
            raise ValueError(f"images must have the shape (n, 1 or 3, H, W) and n > 0, got {shape}; reshape them")
        if tuple(self.labels.shape) != shape[:1]:
            raise ValueError(f"labels must have the shape ({shape[0]},), got {tuple(self.labels.shape)}; give one each")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Self:
        """Return the same images on a device."""
        return type(self)(self.images.to(device), self.labels.to(device))

    def part(self, indices: Tensor | slice) -> Self:
        """Return some of the images, such as ``part(slice(1000))``."""
        return type(self)(self.images[indices], self.labels[indices])


@final
@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: training and test images of one shape.

    Attributes:
        name: what the data set is called.
        classes: a name for each label, in the order of the labels.
        training: the images to train on; a validation split is to be taken from these.
        test: the images that a result is reported on.

    Raises:
        ValueError: there is no class, the two parts have different shapes, or a label has no class.
    """

    name: str
    classes: tuple[str, ...]
    training: Images
    test: Images

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError(f"classes of {self.name!r} must have at least one name, got none; name each label")
        shapes = [tuple(part.images.shape[1:]) for part in (self.training, self.test)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"test images of {self.name!r} must have the training images' shape {shapes[0]}, got {shapes[1]}; "
                "give a size that all images get"
            )
        for split, part in (("training", self.training), ("test", self.test)):
            low, high = part.labels.min().item(), part.labels.max().item()
            if low < 0 or high >= len(self.classes):
                raise ValueError(
                    f"{split} labels of {self.name!r} must be from 0 to {len(self.classes) - 1}, "
                    f"got {low} to {high}; name every class"
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.training.images.shape
        return channels, height, width

    @cached_property
    def checksum(self) -> str:
        """Eight hexadecimal digits, the CRC-32 of classes, images and labels: equal data on any device has equal ones.

        It is computed once, in a pass over all images, and tells data sets and damage apart, but no forgery.
        """
        parts = {"training": self.training, "test": self.test}
        shapes = {split: tuple(part.images.shape) for split, part in parts.items()}
        tensors = (tensor for part in parts.values() for tensor in (part.images, part.labels))
        return checksum_of([self.classes, shapes], tensors)

    def to(self, device: torch.device | str) -> Self:
        """Return the data set on a device."""
        return type(self)(self.name, self.classes, self.training.to(device), self.test.to(device))

    def resized(self, size: int | None) -> Self:
        """Return the data set with images of another height and width; None leaves them as they are."""
        if size is None:
            return self
        training, test = (Images(resize(part.images, size), part.labels) for part in (self.training, self.test))
        return replace(self, training=training, test=test)


def resize(images: Tensor, size: int) -> Tensor:
    """Return images ``(n, C, H, W)`` of uint8 as ``(n, C, size, size)``, by bilinear interpolation without aliasing."""
    if tuple(images.shape[-2:]) == (size, size):
        return images
    return interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def checksum_of(description: object, tensors: Iterable[Tensor]) -> str:
    """Return the CRC-32 of what JSON can say and of the bytes of tensors, as eight hexadecimal digits."""
    total = zlib.crc32(json.dumps(description).encode())
    for tensor in tensors:
        total = zlib.crc32(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
