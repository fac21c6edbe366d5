"""Images of uint8 as the floating-point numbers that networks take, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, final

import torch
from torch import Tensor

SHADES: Final = 255
# Images that are counted at once: few enough to stay in a processor's cache.
PIECE: Final = 200


def to_symmetric(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return images of uint8 as numbers in [−1, 1], as generators make them."""
    return images.to(dtype) / (SHADES / 2) - 1


def from_symmetric(images: Tensor) -> Tensor:
    """Return numbers in [−1, 1] as images of uint8, each rounded to the nearest shade; what is outside is clipped."""
    return ((images + 1) * (SHADES / 2)).round().clamp(0, SHADES).to(torch.uint8)


@final
@dataclass(frozen=True, eq=False)
class Normalization:
    """Subtraction of a mean and division by a deviation, of each channel.

    Attributes:
        mean: ``(C, 1, 1)``, in units of a pixel's shades from 0 to 255.
        deviation: ``(C, 1, 1)``, alike.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, images: Tensor, dtype: torch.dtype = torch.float32) -> Self:
        """Return the normalization by which images ``(n, C, H, W)`` of uint8 have mean 0 and deviation 1.

        Sums are of integers below 2⁵³ in float64, so that their order does not matter. A channel whose deviation is
        below one shade is divided by one shade.
        """
        number = images.numel() // images.shape[1]
        sums = torch.zeros((2, images.shape[1]), dtype=torch.float64, device=images.device)
        for piece in images.split(PIECE):
            pixels = piece.double()
            sums[0] += pixels.sum((0, 2, 3))
            sums[1] += pixels.square().sum((0, 2, 3))
        mean, square = (sums / number).reshape(2, -1, 1, 1)
        deviation = (square - mean.square()).clamp(min=1).sqrt()
        return cls(mean.to(dtype), deviation.to(dtype))

    def __call__(self, images: Tensor) -> Tensor:
        """Return images of uint8 as normalized numbers of the mean's dtype."""
        return (images.to(self.mean.dtype) - self.mean) / self.deviation

    def to(self, device: torch.device | str) -> Self:
        """Return the same normalization on a device."""
        return type(self)(self.mean.to(device), self.deviation.to(device))
