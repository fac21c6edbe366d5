"""Least squares over all trains of given ranks, by scipy and numpy alone."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize  # type: ignore[import-untyped]  # scipy carries no types

from ...manifolds import TrainShape


def least_residual(shape: TrainShape, start: np.ndarray, operator: np.ndarray, measured: np.ndarray) -> float:
    """Return the least ½‖Φ vec(W) − b‖² that a trust-region method over the cores reaches from a start.

    The cores are unconstrained, so neither frames nor retractions nor gradients of this package are used.

    Args:
        shape: modes and ranks.
        start: W of these ranks, ``(rows, columns)``.
        operator: Φ ``(m, rows · columns)``.
        measured: b ``(m,)``.
    """
    modes = shape.row_modes + shape.column_modes
    sizes = [(shape.ranks[k], mode, shape.ranks[k + 1]) for k, mode in enumerate(modes)]
    ends = np.cumsum([math.prod(size) for size in sizes])[:-1]

    def cores(vector: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(size) for part, size in zip(np.split(vector, ends), sizes, strict=True)]

    def residual(vector: np.ndarray) -> np.ndarray:
        return operator @ _contracted(cores(vector)).ravel() - measured

    def jacobian(vector: np.ndarray) -> np.ndarray:
        # The tensor is linear in each core: the derivative is what stands left of it times what stands right.
        found = cores(vector)
        blocks = []
        for k, (before, mode, after) in enumerate(sizes):
            left = _contracted(found[:k]).reshape(-1, before)
            right = _contracted(found[k + 1 :]).reshape(after, -1)
            block = np.einsum("xa,ij,by->xiyajb", left, np.eye(mode), right)
            blocks.append(block.reshape(-1, before * mode * after))
        return operator @ np.concatenate(blocks, axis=1)

    vector = np.concatenate([core.ravel() for core in _decomposed(start, sizes)])
    tight = 1e-15
    found = optimize.least_squares(residual, vector, jacobian, method="trf", ftol=tight, xtol=tight, gtol=tight)
    return float(found.cost)


def _contracted(cores: list[np.ndarray]) -> np.ndarray:
    """Return the sum over the bonds between cores, ``(first bond, modes …, last bond)``; 1 for none."""
    tensor = np.ones((1,))
    for index, core in enumerate(cores):
        tensor = core if index == 0 else np.tensordot(tensor, core, axes=1)
    return tensor


def _decomposed(matrix: np.ndarray, sizes: list[tuple[int, int, int]]) -> list[np.ndarray]:
    """Return cores of a tensor that has the ranks exactly, by one singular value decomposition a bond."""
    rest, cores = matrix, []
    for before, mode, after in sizes[:-1]:
        left, values, right = np.linalg.svd(rest.reshape(before * mode, -1), full_matrices=False)
        cores.append(left[:, :after].reshape(before, mode, after))
        rest = values[:after, None] * right[:after]
    return [*cores, rest.reshape(sizes[-1])]
