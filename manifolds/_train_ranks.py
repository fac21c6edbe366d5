"""How large the ranks of a matrix are as a train, to a tolerance, and what each rank of each bond is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final

import torch
from torch import Tensor

from ._calibrated_fit import calibrated_train_svd, norm_of_rest, whitened_start
from ._contraction import contract_left, contract_right, relative_distance, tensor_train_error, tensor_train_svd
from ._input_metric import InputMetric
from ._mirrored_train import mirror_matrix, mirror_metric, mirror_shape
from ._train_shape import TrainShape
from ._truncated_svd import gram, leading_basis, singular_values, squared_values

# By how much the squared error allowed is lowered where bounds that depend on each other took too much of the ranks.
_LOWERED: Final = 0.5
# Gram matrices give squared singular values to rounding of the largest, which does for squared errors above this part.
_BY_GRAM: Final = 1e-10


def ranks_within(matrix: Tensor, shape: TrainShape, tolerance: float, metric: InputMetric | None = None) -> TrainShape:
    """Return the shape with the least ranks, up to its own, at which TT-SVD has a relative error up to the tolerance.

    Each bond may take off an equal part of the squared error that is left of tolerance²; what one does not need, the
    next ones may. The squared errors of the bonds, singular values that are cut off, sum up to that of the train.

    Args:
        matrix: ``(padded rows, padded columns)``, in float64.
        shape: modes and the largest ranks.
        tolerance: relative to the Frobenius norm, or to that of the metric.
        metric: of the rows or the columns, those that are padded included.
    """
    allowed = tolerance**2
    while True:
        found = _metric_ranks(matrix, shape, allowed, metric) if metric else _ranks(matrix, shape, allowed)
        reduced = replace(shape, rank=found)
        is_exact = metric is None and reduced.ranks[1:-1] == found
        if is_exact or reduced.ranks == shape.ranks or _is_within(tolerance, matrix, reduced, metric):
            return reduced
        allowed *= _LOWERED


@final
class RankErrors:
    """What the ranks of a train are worth for one matrix; what depends on no ranks is computed once.

    Args:
        matrix: ``(padded rows, padded columns)``, in float64.
        shape: its modes.
        metric: of the rows or the columns, those that are padded included, in whose norm errors are meant.
    """

    def __init__(self, matrix: Tensor, shape: TrainShape, metric: InputMetric | None = None) -> None:
        self._is_mirrored = metric is not None and metric.of_rows
        if metric is not None and metric.of_rows:
            matrix, shape, metric = mirror_matrix(matrix, shape), mirror_shape(shape), mirror_metric(metric, shape)
        self._matrix, self._shape, self._metric = matrix, shape, metric
        self._whitened = matrix if metric is None else metric.whitened(matrix)
        self._norm = float(torch.linalg.matrix_norm(self._whitened)) or 1.0

    def values(self) -> list[Tensor]:
        """Return the singular values of the unfolding at each inner bond, descending, to 2e-8 of the largest.

        With a metric they are those of the whitened matrix at the bonds of the other side and at the centre, and at the
        bonds of its own side, which whitening mixes, those of the matrix.
        """
        modes, split = self._shape.row_modes + self._shape.column_modes, len(self._shape.row_modes)
        bonds = range(1, len(modes))
        if self._metric is None:
            return _unfolding_values(self._matrix, modes, bonds)
        values = _unfolding_values(self._whitened, modes, bonds[:split])
        values += _unfolding_values(self._matrix, modes, bonds[split:])
        return values[::-1] if self._is_mirrored else values

    def of_start(self, ranks: Sequence[int]) -> float:
        """Return the relative error of TT-SVD, or with a metric that of the whitened start, without sweeps."""
        shape = replace(self._shape, rank=tuple(ranks[::-1] if self._is_mirrored else ranks))
        if self._metric is None:
            return float(tensor_train_error(self._matrix, shape).sqrt())
        train = whitened_start(self._matrix, self._whitened, shape)
        return norm_of_rest(self._whitened, shape, self._metric, train) / self._norm


def _unfolding_values(matrix: Tensor, modes: Sequence[int], bonds: Sequence[int]) -> list[Tensor]:
    """Return the singular values at some bonds beside each other.

    They are those of the Gram matrix of the smaller side. One Gram matrix of rows is computed, of the last bond whose
    unfolding is wide, and one of columns, of the first that is tall; those of the bonds farther out are partial traces.
    """
    sizes = {bond: math.prod(modes[:bond]) for bond in bonds}
    wide = [bond for bond in bonds if sizes[bond] ** 2 <= matrix.numel()]
    tall = [bond for bond in bonds if sizes[bond] ** 2 > matrix.numel()]
    grams: list[Tensor] = []
    for bond in reversed(wide):
        size = sizes[bond]
        inner = (size, modes[bond], size, modes[bond])
        grams.insert(0, grams[0].reshape(inner).diagonal(0, 1, 3).sum(-1) if grams else gram(matrix.reshape(size, -1)))
    for bond in tall:
        size = matrix.numel() // sizes[bond]
        inner = (modes[bond - 1], size, modes[bond - 1], size)
        is_first = bond == tall[0]
        grams.append(gram(matrix.reshape(-1, size)) if is_first else grams[-1].reshape(inner).diagonal(0, 0, 2).sum(-1))
    return [torch.linalg.eigvalsh(one).clamp(min=0).sqrt().flip(-1) for one in grams]


def _metric_ranks(matrix: Tensor, shape: TrainShape, allowed: float, metric: InputMetric) -> tuple[int, ...]:
    """Return ranks as the whitened start of a calibrated fit has use for: one side and the centre whitened."""
    if metric.of_rows:
        mirrored = mirror_matrix(matrix, shape), mirror_shape(shape), allowed, mirror_metric(metric, shape)
        return _metric_ranks(*mirrored)[::-1]
    split, bounds = len(shape.row_modes), shape.ranks[1:-1]
    left = TrainShape(shape.row_modes, (shape.padded_columns,), bounds[:split])
    whitened = metric.whitened(matrix)
    left = replace(left, rank=_ranks(whitened, left, allowed))
    basis = contract_left(tensor_train_svd(whitened, left)[0][:split], left.frames[:split])
    assert basis is not None
    right = TrainShape((left.center_rank,), shape.column_modes, (left.center_rank, *bounds[split:]))
    return (*left.ranks[1:-1], *_ranks(basis.mT @ matrix, right, allowed)[1:])


def _ranks(matrix: Tensor, shape: TrainShape, allowed: float) -> tuple[int, ...]:
    """Return the rank of each inner bond, cut as :func:`tensor_train_svd` does: both sides, and the centre last."""
    modes, split = shape.row_modes + shape.column_modes, len(shape.row_modes)
    ranks = list(shape.ranks)
    total = float(matrix.square().sum())
    remainder, left = matrix, total * allowed
    order = [*range(1, split), *range(len(modes) - 1, split, -1), split]
    for cut, bond in enumerate(order):
        is_left = bond <= split
        rows = ranks[bond - 1] * modes[bond - 1] if is_left else modes[bond] * ranks[bond + 1]
        remainder = remainder.reshape(rows, -1) if is_left else remainder.reshape(-1, rows)
        unfolding = remainder if is_left else remainder.mT
        share = max(left, 0.0) / (len(order) - cut)
        squares = squared_values(unfolding) if share > _BY_GRAM * total else singular_values(unfolding).square()
        tails = torch.cat([squares.flip(0).cumsum(0).flip(0), squares.new_zeros(1)])  # of keeping 0, 1, … values
        enough = int((tails > share).sum())
        ranks[bond] = max(1, min(enough, shape.ranks[bond]))
        left -= float(tails[min(ranks[bond], len(squares))])
        if ranks[bond] < rows and bond != split:
            basis = leading_basis(unfolding, ranks[bond])
            remainder = basis.mT @ remainder if is_left else remainder @ basis
    return tuple(ranks[1:-1])


def _is_within(tolerance: float, matrix: Tensor, shape: TrainShape, metric: InputMetric | None) -> bool:
    """Return whether the relative error of the fit is up to a tolerance."""
    split = len(shape.row_modes)
    if metric is None:
        train = tensor_train_svd(matrix, shape)
    else:
        train = calibrated_train_svd(matrix, shape, metric, enough=tolerance * float(metric.norm(matrix)))
    left, right = contract_left(train[0][:split], shape.frames[:split]), contract_right(train[0][split:])
    assert left is not None
    assert right is not None
    if metric is None:
        return bool(relative_distance(matrix, left, train[1], right) <= tolerance)
    return bool(metric.norm(matrix - (left * train[1]) @ right.mT) <= tolerance * metric.norm(matrix))
