"""Residual generators and discriminators by resolution: the networks of the paper's GAN experiments, and more.

Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, with
the widths of Obukhov et al. 2021 at 32 and 48 pixels and those of Miyato and Koyama 2018 at 64; spectral normalization
is left to whoever trains them. The pair for 8 pixels is this project's: the one for 32 with fewer, narrower layers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...manifolds import require_integer

NOISE_DIMENSION: Final = 128  # the generator's input is drawn from N(0, I)
RESOLUTIONS: Final = (8, 32, 48, 64)  # digits, CIFAR, STL-10, anything else

# By resolution: channels before the generator's first block and after each, and after each of the discriminator's.
# A base width stands for the largest of them.
_GENERATOR_WIDTHS: dict[int, tuple[int, ...]] = {
    8: (32, 32, 32),
    32: (256, 256, 256, 256),
    48: (512, 256, 128, 64),
    64: (1024, 512, 256, 128, 64),
}
_DISCRIMINATOR_WIDTHS: dict[int, tuple[int, ...]] = {
    8: (32, 32, 32),
    32: (128, 128, 128, 128),
    48: (64, 128, 256, 512, 1024),
    64: (64, 128, 256, 512, 1024),
}
_DISCRIMINATOR_HALVINGS = {8: 2, 32: 2, 48: 4, 64: 5}


@final
class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift for every class, which start at 1 and 0.

    Shapes: images ``(batch, width, height, width)`` and labels ``(batch,)`` to images of the same shape.

    The tables are plain parameters and not embeddings: they are no linear maps, and reparameterization passes them by.

    Source: Dumoulin, Shlens, Kudlur, "A Learned Representation for Artistic Style", ICLR 2017, as used by Miyato and
    Koyama 2018.
    """

    def __init__(self, width: int, number_of_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.scale = nn.Parameter(torch.ones(number_of_classes, width))
        self.shift = nn.Parameter(torch.zeros(number_of_classes, width))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalize, then scale and shift each image for its class."""
        normalized: Tensor = self.norm(x)
        return normalized * self.scale[labels][..., None, None] + self.shift[labels][..., None, None]


def batch_norm(width: int, number_of_classes: int | None) -> nn.Module:
    """Return a batch norm that knows the classes, or where there is no number of them an ordinary one."""
    return nn.BatchNorm2d(width) if number_of_classes is None else ConditionalBatchNorm2d(width, number_of_classes)


def normalized(norm: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    """Apply a norm that :func:`batch_norm` has made."""
    result: Tensor = norm(x, labels) if isinstance(norm, ConditionalBatchNorm2d) else norm(x)
    return result


def require_labels(number_of_classes: int | None, labels: Tensor | None) -> None:
    """Refuse labels for a network that knows no classes, and none for one that does."""
    if (labels is None) is (number_of_classes is None):
        return
    if labels is None:
        raise ValueError(f"labels must be given to a network with {number_of_classes} classes, got None")
    raise ValueError(
        f"labels must be None for a network without classes, got {labels.shape[0]} of them; build it with "
        f"number_of_classes="
    )


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
        """Return the images."""
        require_labels(self.number_of_classes, labels)
        images = self.linear(noise).unflatten(1, (-1, self.seed_size, self.seed_size))
        for block in self.blocks:
            images = block(images, labels)
        return F.tanh(self.conv(F.relu(self.norm(images))))


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
class Discriminator(nn.Module):
    """Maps images ``(batch, channels, resolution, resolution)`` to scores ``(batch, 1)``, unbounded.

    With classes, the inner product of the features with an embedding of the label is added to the score (Miyato,
    Koyama, "cGANs with Projection Discriminator", ICLR 2018).
    """

    def __init__(self, widths: tuple[int, ...], halvings: int, channels: int, number_of_classes: int | None) -> None:
        super().__init__()
        self.number_of_classes = number_of_classes
        self.blocks = nn.Sequential()
        for index, pair in enumerate(pairwise((channels, *widths))):
            self.blocks.append(DownBlock(*pair, halve=index < halvings, sees_image=index == 0))
        self.linear = nn.Linear(widths[-1], 1, bias=False)
        self.embedding: nn.Embedding | None = None
        if number_of_classes is not None:
            self.embedding = nn.Embedding(number_of_classes, widths[-1])

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the scores."""
        require_labels(self.number_of_classes, labels)
        features = F.relu(self.blocks(images)).sum(dim=(2, 3))
        scores: Tensor = self.linear(features)
        if self.embedding is not None:
            scores = scores + (self.embedding(labels) * features).sum(dim=1, keepdim=True)
        return scores


def generator(
    resolution: int, base_width: int | None = None, channels: int | None = None, number_of_classes: int | None = None
) -> Generator:
    """Build the generator for images of 8, 32, 48 or 64 pixels, with weights at torch's defaults.

    Args:
        resolution: height and width of the images.
        base_width: channels before the first block, which scale all others; None is the standard: 32 at 8 pixels,
            the paper's 256 at 32 and 512 at 48, and 1024 at 64.
        channels: of the images; None for 1 at 8 pixels, which are the digits', and 3 elsewhere.
        number_of_classes: for class conditioning by batch norms; None for none.

    Raises:
        ValueError: another resolution, a number below 1, or a base width that does not give whole widths.
    """
    widths = _scaled_widths(_GENERATOR_WIDTHS, resolution, base_width)
    return Generator(NOISE_DIMENSION, widths, resolution, *_checked(resolution, channels, number_of_classes))


def discriminator(
    resolution: int, base_width: int | None = None, channels: int | None = None, number_of_classes: int | None = None
) -> Discriminator:
    """Build the discriminator for images of 8, 32, 48 or 64 pixels, with weights at torch's defaults.

    Args:
        resolution: height and width of the images.
        base_width: channels after the last block, which scale all others; None is the standard: 32 at 8 pixels, the
            paper's 128 at 32 and 1024 at 48, and 1024 at 64. The paper's reduced discriminators have 32 and 64.
        channels: of the images; None for 1 at 8 pixels, which are the digits', and 3 elsewhere.
        number_of_classes: for class conditioning by projection; None for none.

    Raises:
        ValueError: another resolution, a number below 1, or a base width that does not give whole widths.
    """
    widths = _scaled_widths(_DISCRIMINATOR_WIDTHS, resolution, base_width)
    return Discriminator(
        widths, _DISCRIMINATOR_HALVINGS[resolution], *_checked(resolution, channels, number_of_classes)
    )


def _checked(resolution: int, channels: int | None, number_of_classes: int | None) -> tuple[int, int | None]:
    """Return the number of channels, by default the resolution's, and the number of classes."""
    for name, value in (("channels", channels), ("number_of_classes", number_of_classes)):
        if value is not None:
            require_integer(name, value, least=1)
    return (1 if resolution == 8 else 3) if channels is None else channels, number_of_classes


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
        cure = f"a positive multiple of {step}, or None for the standard {base}"
        raise ValueError(f"base_width must at resolution {resolution} be {cure}, got {base_width!r}")
    return tuple(width * base_width // base for width in widths)
