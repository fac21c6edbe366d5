"""Residual generators and discriminators without class conditioning: the networks of the paper's GAN experiments.

Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, with
the widths of Obukhov et al. 2021; spectral normalization is left to whoever trains them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

NOISE_DIMENSION = 128  # the generator's input is drawn from N(0, I)

# By resolution: channels before the generator's first block and after each, and after each of the discriminator's.
# A base width stands for the largest of them.
_GENERATOR_WIDTHS: dict[int, tuple[int, ...]] = {32: (256, 256, 256, 256), 48: (512, 256, 128, 64)}
_DISCRIMINATOR_WIDTHS: dict[int, tuple[int, ...]] = {32: (128, 128, 128, 128), 48: (64, 128, 256, 512, 1024)}
_DISCRIMINATOR_HALVINGS = {32: 2, 48: 4}


@final
class UpBlock(nn.Module):
    """Residual block ``(batch, input_width, height, width)`` to ``(batch, output_width, 2·height, 2·width)``."""

    def __init__(self, input_width: int, output_width: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2.0, mode="bilinear")
        self.norm1 = nn.BatchNorm2d(input_width)
        self.conv1 = nn.Conv2d(input_width, output_width, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(output_width)
        self.conv2 = nn.Conv2d(output_width, output_width, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(input_width, output_width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Double the image."""
        hidden = self.conv1(self.upsample(F.relu(self.norm1(x))))
        residual: Tensor = self.conv2(F.relu(self.norm2(hidden)))
        # Interpolation and a 1×1 convolution commute: in this order the convolution sees a quarter of the pixels.
        identity: Tensor = self.upsample(self.shortcut(x))
        return identity + residual


@final
class DownBlock(nn.Module):
    """Residual block ``(batch, input_width, height, width)`` to ``(batch, output_width, height, width)`` or half.

    There is no normalization. The first block, which sees the image, does not rectify its input, and its hidden layer
    has the width of the output; the others' hidden layers have the width of the input.
    """

    def __init__(self, input_width: int, output_width: int, halve: bool, sees_image: bool) -> None:
        super().__init__()
        hidden_width = output_width if sees_image else input_width
        self.halve = halve
        self.sees_image = sees_image
        self.conv1 = nn.Conv2d(input_width, hidden_width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(hidden_width, output_width, kernel_size=3, padding=1)
        self.shortcut: nn.Conv2d | None = None
        if halve or input_width != output_width:
            self.shortcut = nn.Conv2d(input_width, output_width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the image, or keep its size."""
        residual: Tensor = self.conv2(F.relu(self.conv1(x if self.sees_image else F.relu(x))))
        if self.halve:
            residual, x = F.avg_pool2d(residual, 2), F.avg_pool2d(x, 2)
        return residual + (x if self.shortcut is None else self.shortcut(x))


@final
class Generator(nn.Module):
    """Maps noise ``(batch, 128)`` to images ``(batch, 3, resolution, resolution)`` in (−1, 1); see `generator`."""

    def __init__(self, widths: tuple[int, ...], resolution: int) -> None:
        super().__init__()
        self.seed_size = resolution >> (len(widths) - 1)
        self.linear = nn.Linear(NOISE_DIMENSION, widths[0] * self.seed_size**2)
        self.blocks = nn.Sequential(*(UpBlock(*pair) for pair in pairwise(widths)))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.conv = nn.Conv2d(widths[-1], 3, kernel_size=3, padding=1)

    def forward(self, noise: Tensor) -> Tensor:
        """Return the images."""
        seed = self.linear(noise).unflatten(1, (-1, self.seed_size, self.seed_size))
        return F.tanh(self.conv(F.relu(self.norm(self.blocks(seed)))))


@final
class Discriminator(nn.Module):
    """Maps images ``(batch, 3, resolution, resolution)`` to scores ``(batch, 1)``, unbounded; see `discriminator`."""

    def __init__(self, widths: tuple[int, ...], halvings: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for index, pair in enumerate(pairwise((3, *widths))):
            self.blocks.append(DownBlock(*pair, halve=index < halvings, sees_image=index == 0))
        self.linear = nn.Linear(widths[-1], 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores."""
        scores: Tensor = self.linear(F.relu(self.blocks(images)).sum(dim=(2, 3)))
        return scores


def generator(resolution: int, base_width: int | None = None) -> Generator:
    """Build the generator for a resolution of 32 (CIFAR-10) or 48 (STL-10), with weights at torch's defaults.

    Args:
        resolution: height and width of the images.
        base_width: channels before the first block, which scale all others; None is the paper's, 256 and 512.

    Raises:
        ValueError: another resolution, or a base width that does not give whole widths.
    """
    return Generator(_scaled_widths(_GENERATOR_WIDTHS, resolution, base_width), resolution)


def discriminator(resolution: int, base_width: int | None = None) -> Discriminator:
    """Build the discriminator for a resolution of 32 (CIFAR-10) or 48 (STL-10), with weights at torch's defaults.

    Args:
        resolution: height and width of the images.
        base_width: channels after the last block, which scale all others; None is the paper's, 128 and 1024. The
            paper's reduced discriminators have 32 and 64.

    Raises:
        ValueError: another resolution, or a base width that does not give whole widths.
    """
    widths = _scaled_widths(_DISCRIMINATOR_WIDTHS, resolution, base_width)
    return Discriminator(widths, _DISCRIMINATOR_HALVINGS[resolution])


def _scaled_widths(table: dict[int, tuple[int, ...]], resolution: int, base_width: int | None) -> tuple[int, ...]:
    """Return the table's widths for a resolution, scaled so that the largest is base_width."""
    if type(resolution) is not int or resolution not in table:
        raise ValueError(f"resolution must be one of {', '.join(map(str, table))}, got {resolution!r}")
    widths = table[resolution]
    base = max(widths)
    if base_width is None:
        return widths
    step = base // min(widths)
    if type(base_width) is not int or base_width < 1 or base_width % step:
        cure = f"a positive multiple of {step}, or None for the paper's {base}"
        raise ValueError(f"base_width must at resolution {resolution} be {cure}, got {base_width!r}")
    return tuple(width * base_width // base for width in widths)
