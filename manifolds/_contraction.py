"""From the frames of a train to its factors U and V, and from a matrix to frames (TT-SVD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._matrices import identity_like
from ._train_shape import FrameShape, TrainShape


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

    Each bond is cut by a truncated SVD, the centre last. The error is at most √(number of bonds) times that of the
    best train of these ranks.

    Args:
        matrix: ``(..., padded rows, padded columns)``.
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
        basis, values, rest = torch.linalg.svd(remainder.reshape(*batch, frame.rows, -1), full_matrices=False)
        left.append(basis[..., : frame.columns])
        remainder = values[..., : frame.columns, None] * rest[..., : frame.columns, :]
    remainder = remainder.reshape(*batch, left_shapes[-1].rows, -1)
    right: list[Tensor] = []
    for frame in right_shapes[:0:-1]:
        unfolded = remainder.reshape(*batch, -1, frame.rows)
        rest, values, basis = torch.linalg.svd(unfolded, full_matrices=False)
        right.insert(0, basis[..., : frame.columns, :].mT)
        remainder = rest[..., : frame.columns] * values[..., None, : frame.columns]
    rank = shape.center_rank
    remainder = remainder.reshape(*batch, left_shapes[-1].rows, right_shapes[0].rows)
    basis, values, cobasis = torch.linalg.svd(remainder, full_matrices=False)
    return [*left, basis[..., :rank], cobasis[..., :rank, :].mT, *right], values[..., :rank]
