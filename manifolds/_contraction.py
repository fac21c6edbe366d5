"""From the frames of a train to its factors U and V, and from a matrix to frames (TT-SVD)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from ._matrices import identity_like
from ._train_shape import FrameShape, TrainShape
from ._truncated_svd import leading_basis, leading_part, squared_values, truncated_svd

# Entries of a large matrix that are compared at once: 32 MiB in float64.
_CHUNK: Final = 2**22


def contract_left(frames: Sequence[Tensor | None], shapes: Sequence[FrameShape]) -> Tensor | None:
    """Return U of shape ``(..., rows, r)`` from the frames left of the centre, in the order of the chain.

    A missing frame, which is square, stands for the identity. Nothing is multiplied for it: its mode is one more of
    the next frame's, and behind the last frame U is U ⊗ I. None is returned where U itself is the identity.
    """
    basis = None
    for frame in frames:
        if frame is None:
            continue
        if basis is None:
            basis = frame
        else:
            # (outer rank · modes, columns) as (outer rank, modes · columns): the modes are the own and missing ones.
            core = frame.unflatten(-2, (basis.shape[-1], -1))
            modes = core.shape[-2]
            basis = (basis @ core.flatten(-2)).unflatten(-1, (modes, frame.shape[-1])).flatten(-3, -2)
    if basis is None or basis.shape[-1] == shapes[-1].columns:
        return basis
    return torch.kron(basis, identity_like(basis, *[shapes[-1].columns // basis.shape[-1]] * 2))


def contract_right(frames: Sequence[Tensor | None]) -> Tensor | None:
    """Return V of shape ``(..., columns, r)`` from the frames right of the centre: the left side mirrored.

    What lies contiguously in memory is Vᵀ, as the weight of a layer that applies V wants it. The frame at the centre is
    never missing.
    """
    basis = None
    for frame in reversed(frames):
        if frame is None:
            continue
        if basis is None:
            basis = frame.mT
        else:
            core = frame.mT.unflatten(-1, (-1, basis.shape[-2]))
            modes = core.shape[-2]
            basis = (core.flatten(-3, -2) @ basis).unflatten(-2, (frame.shape[-1], modes)).flatten(-2)
    return None if basis is None else basis.mT


def without_padding(factor: Tensor, rows: int) -> Tensor:
    """Return the first rows; all of them without a slice, whose backward would fill and copy as many zeros."""
    return factor if factor.shape[-2] == rows else factor[..., :rows, :]


def absorb(rotation: Tensor, frame: Tensor, shape: FrameShape) -> Tensor:
    """Return the frame with ``rotation`` (..., q, q) multiplied into the bond that points away from the centre."""
    if shape.left:
        core = rotation @ frame.unflatten(-2, (shape.outer_rank, shape.mode)).flatten(-2)
        return core.unflatten(-1, (shape.mode, shape.columns)).flatten(-3, -2)
    core = frame.unflatten(-2, (shape.mode, shape.outer_rank))
    return (rotation.unsqueeze(-3) @ core).flatten(-3, -2)


def tensor_train_svd(matrix: Tensor, shape: TrainShape) -> tuple[list[Tensor], Tensor]:
    """Return frames and singular values of a matrix by TT-SVD toward the centre from both ends (Oseledets 2011).

    Each bond is cut by a truncated SVD, the centre last; a square frame is the identity, and costs nothing. The error
    is at most √(number of bonds) times that of the best train of these ranks.

    Args:
        matrix: ``(..., padded rows, padded columns)``, in float64.
        shape: the shape of the train.

    Returns:
        All frames in the order of the chain, and singular values of shape ``(..., r)``, descending.
    """
    split = len(shape.row_modes)
    left_shapes, right_shapes = shape.frames[:split], shape.frames[split:]
    batch = matrix.shape[:-2]
    left: list[Tensor] = []
    remainder = matrix
    for frame in left_shapes[:-1]:
        remainder = remainder.reshape(*batch, frame.rows, -1)
        left.append(leading_basis(remainder, frame.columns))
        if frame.columns < frame.rows:
            remainder = left[-1].mT @ remainder
    remainder = remainder.reshape(*batch, left_shapes[-1].rows, -1)
    right: list[Tensor] = []
    for frame in right_shapes[:0:-1]:
        remainder = remainder.reshape(*batch, -1, frame.rows)
        right.insert(0, leading_basis(remainder.mT, frame.columns))
        if frame.columns < frame.rows:
            remainder = remainder @ right[0]
    remainder = remainder.reshape(*batch, left_shapes[-1].rows, right_shapes[0].rows)
    basis, values, cobasis = truncated_svd(remainder, shape.center_rank)
    return [*left, basis, cobasis, *right], values


def tensor_train_error(matrix: Tensor, shape: TrainShape) -> Tensor:
    """Return the squared relative error of :func:`tensor_train_svd` of one matrix, to rounding, without its frames.

    It is what the bonds cut away, so that nothing is computed behind the last cut, and there only singular values.
    """
    split = len(shape.row_modes)
    left, right = shape.frames[:split], shape.frames[split:]
    cuts = [(frame, True) for frame in left[:-1]] + [(frame, False) for frame in right[:0:-1]] + [(left[-1], True)]
    # A square frame cuts nothing away, and at the centre neither does one beside a square one.
    cuts = [
        (frame, is_left)
        for frame, is_left in cuts
        if frame.columns < (min(frame.rows, right[0].rows) if frame.at_center else frame.rows)
    ]
    remainder, kept, total = matrix, matrix.new_ones(()), matrix.square().sum()
    for place, (frame, is_left) in enumerate(cuts, 1):
        remainder = remainder.reshape(frame.rows, -1) if is_left else remainder.reshape(-1, frame.rows).mT
        if place == len(cuts):
            kept = squared_values(remainder)[: frame.columns].sum() / torch.where(total > 0, total, 1.0)
        else:
            remainder = leading_part(remainder, frame.columns)
            remainder = remainder if is_left else remainder.mT
    return (1 - kept).clamp(min=0)


def relative_distance(matrix: Tensor, left: Tensor, values: Tensor, right: Tensor) -> Tensor:
    """Return ‖A − U diag(s) Vᵀ‖_F / ‖A‖_F of shape ``(...)``, some rows after others; for A = 0, ‖U diag(s) Vᵀ‖_F.

    Args:
        matrix: A ``(..., rows, columns)``.
        left: U ``(..., rows, r)``.
        values: s ``(..., r)``.
        right: V ``(..., columns, r)``.
    """
    weighted = left * values.unsqueeze(-2)
    rows = max(1, _CHUNK // max(1, matrix.shape[:-2].numel() * matrix.shape[-1]))
    pieces = [
        torch.linalg.vector_norm(piece - factor @ right.mT, dim=(-2, -1))
        for piece, factor in zip(matrix.split(rows, dim=-2), weighted.split(rows, dim=-2), strict=True)
    ]
    norm = torch.linalg.vector_norm(matrix, dim=(-2, -1))
    return torch.linalg.vector_norm(torch.stack(pieces), dim=0) / torch.where(norm > 0, norm, 1.0)
