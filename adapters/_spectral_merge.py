"""Spectral bases and spectral changes: their sum is a train of the sum of the ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from ..layers import SpectralLayer, SpectralWeight
from ..manifolds import Free, SpectralTensorTrain, TrainShape
from ._change import Change
from ._since_start import SinceStart
from ._sttp import SpectralChange


def merged_spectral(layer: SpectralLayer, changes: Sequence[Change]) -> SpectralWeight | None:
    """Return the weight of a spectral layer plus its changes, None where they are no trains of its modes.

    W_base + ΔW is a train whose ranks are at most the sums of theirs, and TT-SVD at these ranks is exact. The spectrum
    becomes ``Free()``, since no other holds any sum.
    """
    base = layer.spectral
    parts = [base]
    for change in changes:
        trains = list(_trains(change))
        if not trains:
            return None
        parts += trains
    shape = base.manifold.shape
    modes = shape.row_modes, shape.column_modes
    if any((part.manifold.shape.row_modes, part.manifold.shape.column_modes) != modes for part in parts):
        return None
    ranks = tuple(sum(bond) for bond in zip(*(part.manifold.shape.ranks[1:-1] for part in parts), strict=True))
    summed = TrainShape(
        *modes,
        ranks,
        shape.rows,
        shape.columns,
        math.prod(modes[0]) > shape.rows or math.prod(modes[1]) > shape.columns,
    )
    matrix = base.matrix().detach().to(torch.float64)
    for change in changes:
        matrix = change.merged(matrix)
    manifold = SpectralTensorTrain(summed, base.manifold.geometry, Free())
    reference = base.coordinates[0]
    merged = SpectralWeight(manifold, base.weight_shape, reference.dtype, reference.device)
    merged.set_point(manifold.from_matrix(matrix).point)
    return merged.requires_grad_(False)


def _trains(change: Change) -> Iterator[SpectralWeight]:
    if isinstance(change, SpectralChange):
        yield change.spectral
    elif isinstance(change, SinceStart):
        yield from _trains(change.change)
        yield from _trains(change.start)
