"""The train read from its other end: rows become columns, so that what is written for one side serves the other.

The mirrored matrix has the entry of W at (n_1 … n_D, m_1 … m_E) at (m_E … m_1, n_D … n_1): it is Wᵀ with the digits of
each index reversed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._input_metric import InputMetric
from ._train_shape import TrainShape


def mirror_shape(shape: TrainShape) -> TrainShape:
    """Return the shape of the mirrored train, without padding."""
    return TrainShape(shape.column_modes[::-1], shape.row_modes[::-1], shape.bounds[::-1])


def mirror_matrix(matrix: Tensor, shape: TrainShape) -> Tensor:
    """Return the mirrored matrix ``(padded columns, padded rows)`` of one of the shape."""
    modes = shape.row_modes + shape.column_modes
    mirrored = matrix.reshape(modes).permute(*range(len(modes) - 1, -1, -1))
    return mirrored.reshape(shape.padded_columns, shape.padded_rows)


def mirror_frames(frames: Sequence[Tensor], shape: TrainShape) -> list[Tensor]:
    """Return the frames of the mirrored train of one of the shape."""
    mirrored = []
    for frame, at in zip(reversed(frames), reversed(shape.frames), strict=True):
        sizes = (at.outer_rank, at.mode) if at.left else (at.mode, at.outer_rank)
        mirrored.append(frame.unflatten(-2, sizes).transpose(-3, -2).flatten(-3, -2))
    return mirrored


def mirror_metric(metric: InputMetric, shape: TrainShape) -> InputMetric:
    """Return the metric of the mirrored matrix."""
    modes = shape.row_modes if metric.of_rows else shape.column_modes
    indices = torch.arange(len(metric.moment), device=metric.moment.device).reshape(modes)
    order = indices.permute(*range(len(modes) - 1, -1, -1)).reshape(-1)
    return metric.permuted(order, not metric.of_rows)
