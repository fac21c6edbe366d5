"""Images of one size from images of another."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from .image_data import ImageData, Images


def resize(images: Tensor, size: int) -> Tensor:
    """Return images ``(n, C, H, W)`` of uint8 as ``(n, C, size, size)``, by bilinear interpolation without aliasing."""
    if tuple(images.shape[-2:]) == (size, size):
        return images
    return interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def resize_data(data: ImageData, size: int | None) -> ImageData:
    """Return a data set with images of another height and width; None leaves them as they are."""
    if size is None:
        return data
    training, test = (Images(resize(part.images, size), part.labels) for part in (data.training, data.test))
    return ImageData(data.name, data.classes, training, test)
