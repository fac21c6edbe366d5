"""How large the ranks of a matrix are as a train, to a tolerance, and what each rank of each bond is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from ._contraction import tensor_train_svd
from ._train_shape import TrainShape
from ._truncated_svd import leading_basis, singular_values

# By how much the squared error allowed is lowered where bounds that depend on each other took too much of the ranks.
_LOWERED: Final = 0.5


def ranks_within(matrix: Tensor, shape: TrainShape, tolerance: float) -> TrainShape:
    """Return the shape with the least ranks, up to its own, at which TT-SVD has a relative error up to the tolerance.

    Each bond may take off an equal part of the squared error that is left of tolerance²; what one does not need, the
    next ones may. The squared errors of the bonds, singular values that are cut off, sum up to that of the train.

    Args:
        matrix: ``(padded rows, padded columns)``, in float64.
        shape: modes and the largest ranks.
        tolerance: relative to the Frobenius norm.
    """
    allowed = tolerance**2
    while True:
        found = replace(shape, rank=_ranks(matrix, shape, allowed))
        if found.ranks[1:-1] == found.rank or _squared_error(matrix, found) <= tolerance**2:
            return found
        allowed *= _LOWERED


def bond_values(matrix: Tensor, shape: TrainShape) -> list[Tensor]:
    """Return the singular values of the unfolding at each inner bond, descending, to 1e-8 of the largest.

    Args:
        matrix: ``(padded rows, padded columns)``, in float64.
        shape: its modes.
    """
    modes = shape.row_modes + shape.column_modes
    result = []
    for bond in range(1, len(modes)):
        unfolding = matrix.reshape(math.prod(modes[:bond]), -1)
        unfolding = unfolding if unfolding.shape[0] <= unfolding.shape[1] else unfolding.mT
        eigenvalues = torch.linalg.eigvalsh(unfolding @ unfolding.mT)
        result.append(eigenvalues.clamp(min=0).sqrt().flip(-1))
    return result


def _ranks(matrix: Tensor, shape: TrainShape, allowed: float) -> tuple[int, ...]:
    """Return the rank of each inner bond, cut as :func:`tensor_train_svd` does: both sides, and the centre last."""
    modes, split = shape.row_modes + shape.column_modes, len(shape.row_modes)
    ranks = list(shape.ranks)
    remainder, left = matrix, float(matrix.square().sum()) * allowed
    order = [*range(1, split), *range(len(modes) - 1, split, -1), split]
    for cut, bond in enumerate(order):
        is_left = bond <= split
        rows = ranks[bond - 1] * modes[bond - 1] if is_left else modes[bond] * ranks[bond + 1]
        remainder = remainder.reshape(rows, -1) if is_left else remainder.reshape(-1, rows)
        unfolding = remainder if is_left else remainder.mT
        squares = singular_values(unfolding).square()
        tails = torch.cat([squares.flip(0).cumsum(0).flip(0), squares.new_zeros(1)])  # of keeping 0, 1, … values
        enough = int((tails > max(left, 0.0) / (len(order) - cut)).sum())
        ranks[bond] = max(1, min(enough, shape.ranks[bond]))
        left -= float(tails[min(ranks[bond], len(squares))])
        if ranks[bond] < rows and bond != split:
            basis = leading_basis(unfolding, ranks[bond])
            remainder = basis.mT @ remainder if is_left else remainder @ basis
    return tuple(ranks[1:-1])


def _squared_error(matrix: Tensor, shape: TrainShape) -> float:
    """Return the squared relative error of TT-SVD."""
    _, values = tensor_train_svd(matrix, shape)
    return float(1 - values.square().sum() / matrix.square().sum())
