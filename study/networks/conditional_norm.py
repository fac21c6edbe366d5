"""Batch norms whose scale and shift depend on the class of each image."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift for every class, which start at 1 and 0.

    Shapes: images ``(batch, width, height, width)`` and labels ``(batch,)`` to images of the same shape.

    The tables are plain parameters and not embeddings: they are no linear maps, and reparameterization passes them by.

    Args:
        width: number of channels.
        number_of_classes: labels are 0 to this number, itself left out.

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
    """Refuse labels for a network that knows no classes, and none for one that does.

    Raises:
        ValueError: as said.
    """
    if (labels is None) is (number_of_classes is None):
        return
    if labels is None:
        raise ValueError(f"labels must be given to a network with {number_of_classes} classes, got None")
    raise ValueError(
        f"labels must be None for a network without classes, got {labels.shape[0]} of them; build it with "
        f"number_of_classes="
    )
