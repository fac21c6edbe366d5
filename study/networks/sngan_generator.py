"""The residual generator of spectrally normalized GANs."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from .conditional_norm import batch_norm, normalized, require_labels


@final
class UpBlock(nn.Module):
    """Residual block ``(batch, input_width, height, width)`` to ``(batch, output_width, 2·height, 2·width)``."""

    def __init__(self, input_width: int, output_width: int, number_of_classes: int | None = None) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2.0, mode="bilinear")
        self.norm1 = batch_norm(input_width, number_of_classes)
        self.conv1 = nn.Conv2d(input_width, output_width, kernel_size=3, padding=1)
        self.norm2 = batch_norm(output_width, number_of_classes)
        self.conv2 = nn.Conv2d(output_width, output_width, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(input_width, output_width, kernel_size=1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Double the image."""
        hidden = self.conv1(self.upsample(F.relu(normalized(self.norm1, x, labels))))
        residual: Tensor = self.conv2(F.relu(normalized(self.norm2, hidden, labels)))
        # Interpolation and a 1×1 convolution commute: in this order the convolution sees a quarter of the pixels.
        identity: Tensor = self.upsample(self.shortcut(x))
        return identity + residual


@final
class Generator(nn.Module):
    """Maps noise ``(batch, noise_dimension)`` to images ``(batch, channels, resolution, resolution)`` in (−1, 1).

    With classes, labels ``(batch,)`` choose the scales and shifts of the blocks' norms; the last norm has one of each.

    Args:
        noise_dimension: of the input, which is drawn from N(0, I).
        widths: channels before the first block and after each.
        resolution: height and width of the images.
        channels: of the images.
        number_of_classes: None for a generator without class conditioning.
    """

    def __init__(
        self,
        noise_dimension: int,
        widths: tuple[int, ...],
        resolution: int,
        channels: int,
        number_of_classes: int | None,
    ) -> None:
        super().__init__()
        self.noise_dimension = noise_dimension
        self.number_of_classes = number_of_classes
        self.seed_size = resolution >> (len(widths) - 1)
        self.linear = nn.Linear(noise_dimension, widths[0] * self.seed_size**2)
        self.blocks = nn.Sequential(*(UpBlock(*pair, number_of_classes) for pair in pairwise(widths)))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.conv = nn.Conv2d(widths[-1], channels, kernel_size=3, padding=1)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the images.

        Raises:
            ValueError: labels are missing, or given to a generator without classes.
        """
        require_labels(self.number_of_classes, labels)
        images = self.linear(noise).unflatten(1, (-1, self.seed_size, self.seed_size))
        for block in self.blocks:
            images = block(images, labels)
        return F.tanh(self.conv(F.relu(self.norm(images))))
