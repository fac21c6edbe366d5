"""The residual discriminator of spectrally normalized GANs."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from .conditional_norm import require_labels


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

    Args:
        widths: channels after each block.
        halvings: number of blocks, from the first, that halve the image.
        channels: of the images.
        number_of_classes: None for a discriminator without class conditioning.
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
        """Return the scores.

        Raises:
            ValueError: labels are missing, or given to a discriminator without classes.
        """
        require_labels(self.number_of_classes, labels)
        features = F.relu(self.blocks(images)).sum(dim=(2, 3))
        scores: Tensor = self.linear(features)
        if self.embedding is not None:
            scores = scores + (self.embedding(labels) * features).sum(dim=1, keepdim=True)
        return scores
