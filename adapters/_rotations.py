"""Rotations by the exact Cayley transform, and changes that rotate the inputs of a weight."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from ._change import Change, Product, cast_like


def skew_of(entries: Tensor, size: int) -> Tensor:
    """Return K of shape ``(..., n, n)`` with K = −Kᵀ, from those above the diagonal, by rows."""
    rows, columns = torch.triu_indices(size, size, 1, device=entries.device)
    flat = entries.new_zeros(*entries.shape[:-1], size * size).index_copy(-1, rows * size + columns, entries)
    upper = flat.unflatten(-1, (size, size))
    return upper - upper.mT


def cayley(skew: Tensor) -> Tensor:
    """Return the rotation (I − K)⁻¹ (I + K), which is orthogonal to rounding and has no eigenvalue −1."""
    eye = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
    return torch.linalg.solve(eye - skew, eye + skew)


def turned_dimension(rows: int, columns: int) -> int:
    """Return the dimension of the set of W R, W a general matrix ``(rows, columns)`` and R any rotation.

    It is that of the rotations but where W has fewer rows, which then are a frame.
    """
    rank = min(rows, columns)
    return columns * rank - rank * (rank + 1) // 2


class Rotated(Change):
    """W(θ) = W0 R(θ) with an orthogonal R: the singular values of the weight stay what they are."""

    @property
    def has_frames(self) -> bool:
        """True: R is one."""
        return True

    @abc.abstractmethod
    def rotate(self, vectors: Tensor) -> Tensor:
        """Return x Rᵀ for x of shape ``(..., columns)``."""

    @abc.abstractmethod
    def rotate_back(self, vectors: Tensor) -> Tensor:
        """Return x R."""

    def merged(self, weight: Tensor) -> Tensor:
        """Return W0 R."""
        return self.rotate_back(weight)

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Return (x Rᵀ) W0ᵀ."""
        return base(self.rotate(cast_like(vectors, self)).to(vectors.dtype))
