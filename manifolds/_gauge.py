"""The freedom of a train's frames that its weight does not show, and how it is taken away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._contraction import absorb
from ._matrices import rq_positive
from ._train_shape import TrainShape


def fix_gauge(frames: Sequence[Tensor], shape: TrainShape, has_unit_values: bool) -> list[Tensor]:
    """Rotate each frame whose basis is gauge until its top block is upper triangular, the identity if it is square.

    The rotation goes into the next frame on the way to the centre. The triangle's diagonal is not positive, which is
    what reduced Householder frames are away from cancellation: they then need no signs beside them.

    Args:
        frames: all frames ``(..., rows, columns)`` of the train in the order of the chain.
        shape: the shape of the train.
        has_unit_values: whether all singular values are 1, which leaves more of the frames as gauge.
    """
    frames = list(frames)
    split, count = len(shape.row_modes), len(shape.frames)
    order = [*((k, k + 1) for k in range(split)), *((k, k - 1) for k in range(count - 1, split - 1, -1))]
    for position, neighbour in order:
        frame = shape.frames[position]
        if not shape.is_gauge_fixed(frame, has_unit_values):
            continue
        _, rotation = rq_positive(frames[position][..., : frame.columns, :])
        if frame.rows > frame.columns:
            rotation = -rotation
        frames[position] = frames[position] @ rotation.mT
        if frame.at_center:
            frames[neighbour] = frames[neighbour] @ rotation.mT
        else:
            frames[neighbour] = absorb(rotation, frames[neighbour], shape.frames[neighbour])
    return frames


def order_center(left: Tensor, values: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the frames at the centre and the singular values in the order and with the signs of an SVD.

    Values become non-negative and descend, and the largest entry of each column of the left frame becomes positive.

    Args:
        left: frame ``(..., rows, r)`` next to the centre.
        values: singular values ``(..., r)``, unsorted and of any sign.
        right: frame ``(..., rows, r)`` on the other side.
    """
    right = right * torch.where(values < 0, -1.0, 1.0).to(right).unsqueeze(-2)
    values, order = torch.sort(values.abs(), dim=-1, descending=True)
    left, right = (torch.take_along_dim(frame, order.unsqueeze(-2), dim=-1) for frame in (left, right))
    largest = torch.take_along_dim(left, left.abs().argmax(dim=-2, keepdim=True), dim=-2)
    flip = torch.where(largest < 0, -1.0, 1.0).to(left)
    return left * flip, values, right * flip
