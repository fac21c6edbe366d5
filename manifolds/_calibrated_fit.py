"""Fits of trains in the metric of their inputs: the least ‖(W − Ŵ)C^{1/2}‖_F, C a second moment.

Neither of two starts is always the better one. TT-SVD of W does not know C. The whitened one takes the left frames from
TT-SVD of WL, C = LLᵀ, and the right ones from TT-SVD of the projection UUᵀW: with one mode a side it is the best
approximation (whitened SVD; SVD-LLM, arXiv 2403.07378). From the better start on, sweeps of alternating least squares
go down in the norm itself, in which no truncated SVD of the right side would know what to keep:

- With V fixed the metric is one of the bond at the centre, VᵀCV = KKᵀ, so that the left side is the TT-SVD of AK, with
  A = WCV(VᵀCV)⁻¹ the coefficients of the best matrix AVᵀ.
- With U fixed each core on the right minimizes a quadratic function, by a few steps of conjugate gradients, with all
  other cores orthogonal (alternating least squares; Holtz, Rohwedder, Schneider 2012).

A sweep that does not lower the norm is dropped: the fit is never worse than either start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from ._contraction import contract_left, contract_right, tensor_train_svd
from ._core_sweep import minimized_cores
from ._input_metric import InputMetric
from ._mirrored_train import mirror_frames, mirror_matrix, mirror_metric, mirror_shape
from ._train_shape import TrainShape

# Sweeps end when one takes less than this part off the squared error, or after so many.
_PROGRESS: Final = 1e-3
_SWEEPS: Final = 6

Train = tuple[list[Tensor], Tensor]


def calibrated_train_svd(matrix: Tensor, shape: TrainShape, metric: InputMetric, enough: float = 0.0) -> Train:
    """Return frames and singular values of a matrix as :func:`tensor_train_svd` does, for the norm of a metric.

    Args:
        matrix: ``(padded rows, padded columns)``, in float64.
        shape: the shape of the train.
        metric: of the rows or the columns, those that are padded included.
        enough: sweeps end at this norm of what is left of the matrix.
    """
    if metric.of_rows:
        mirrored = mirror_shape(shape)
        arguments = mirror_matrix(matrix, shape), mirrored, mirror_metric(metric, shape), enough
        frames, values = calibrated_train_svd(*arguments)
        return mirror_frames(frames, mirrored), values
    whitened = metric.whitened(matrix)
    starts = [tensor_train_svd(matrix, shape)]
    if shape.center_rank < shape.padded_rows:  # else they are the same
        starts.append(whitened_start(matrix, whitened, shape))
    errors = [norm_of_rest(whitened, shape, metric, start) for start in starts]
    error, best = min(zip(errors, starts, strict=True), key=lambda pair: pair[0])
    if len(shape.frames) == 2:  # the whitened SVD, which nothing is better than
        return best
    for _ in range(_SWEEPS):
        if error <= enough:
            break
        lowered = _sweep(matrix, shape, metric, best)
        before, now = error, norm_of_rest(whitened, shape, metric, lowered)
        if not now < before:
            break
        error, best = now, lowered
        if before**2 - now**2 < _PROGRESS * before**2:
            break
    return best


def whitened_start(matrix: Tensor, whitened: Tensor, shape: TrainShape) -> Train:
    """Return the train with U of the TT-SVD of the whitened matrix, and V of that of UᵀW."""
    split, rank = len(shape.row_modes), shape.center_rank
    if rank == shape.padded_rows:  # U is all there is, whatever the metric
        return tensor_train_svd(matrix, shape)
    frames = tensor_train_svd(whitened, shape)[0][:split]
    inner = TrainShape((rank,), shape.column_modes, shape.ranks[split:-1])
    (rotation, *right), values = tensor_train_svd(_left_factor(frames, shape).mT @ matrix, inner)
    return [*frames[:-1], frames[-1] @ rotation, *right], values


def norm_of_rest(whitened: Tensor, shape: TrainShape, metric: InputMetric, train: Train) -> float:
    """Return ‖(W − Ŵ)L‖_F, for a metric of columns."""
    frames, values = train
    right = contract_right(frames[len(shape.row_modes) :])
    assert right is not None
    return float(
        torch.linalg.matrix_norm(whitened - (_left_factor(frames, shape) * values) @ metric.whitened(right.mT))
    )


def _sweep(matrix: Tensor, shape: TrainShape, metric: InputMetric, train: Train) -> Train:
    split = len(shape.row_modes)
    frames = train[0]
    right = contract_right(frames[split:])
    assert right is not None
    image = metric.times(right.mT).mT  # CV
    eigenvalues, vectors = torch.linalg.eigh(right.mT @ image)
    above = eigenvalues > eigenvalues[-1] * len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    inverse_root = torch.where(above, eigenvalues.clamp(min=torch.finfo(eigenvalues.dtype).tiny).rsqrt(), 0.0)
    weighted = matrix @ image @ (vectors * inverse_root)  # AK
    rank = shape.center_rank
    left_shape = TrainShape(shape.row_modes, (rank,), shape.ranks[1 : split + 1])
    left_frames = tensor_train_svd(weighted, left_shape)[0][:split]
    left = _left_factor(left_frames, shape)
    coefficients = left.mT @ weighted @ (vectors * inverse_root).mT
    cores = [
        frame.mT.reshape(at.columns, at.mode, at.outer_rank)
        for frame, at in zip(frames[split:], shape.frames[split:], strict=True)
    ]
    cores[0] = (coefficients @ cores[0].flatten(1)).reshape(cores[0].shape)
    cores = minimized_cores(cores, left.mT @ matrix, metric)
    rotation, values, basis = torch.linalg.svd(cores[0].flatten(1), full_matrices=False)
    others = [core.flatten(1).mT for core in cores[1:]]
    return [*left_frames[:-1], left_frames[-1] @ rotation, basis.mT, *others], values


def _left_factor(frames: Sequence[Tensor], shape: TrainShape) -> Tensor:
    split = len(shape.row_modes)
    left = contract_left(frames[:split], shape.frames[:split])
    assert left is not None
    return left
