"""Truncated singular value decompositions: only what is wanted of them is computed, with stated accuracy."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ._matrices import identity_like

# A Gram matrix squares singular values: relative to the largest, those down to this one keep four digits in float64.
SMALLEST_BY_GRAM: Final = 1e-6
# Matrices with a side up to this one are decomposed whole, which takes about a second.
SMALL: Final = 1024
# The block Krylov method pays where at most this part of the singular vectors is wanted.
FEW: Final = 0.25
# It ends when a pass takes less than this part off the squared error.
PROGRESS: Final = 1e-3
# Vectors of a block beyond those that are wanted (Halko, Martinsson, Tropp 2011, Sec. 1.3: 5 or 10).
OVERSAMPLING: Final = 10

# Columns of a matrix that are taken together: at least so many times its rows, and so many entries.
_CHUNK: Final = 64
# Products AAᵀ with more rows are made of blocks.
_BLOCK: Final = 256
_ENTRIES: Final = 2**21


def leading_basis(matrix: Tensor, rank: int) -> Tensor:
    """Return an orthonormal basis ``(..., n, rank)`` of the leading left singular vectors of ``(..., n, m)``.

    For float64, on any device. With σ_1 the largest singular value:

    - ``rank`` = n: the identity, without any computation.
    - Few vectors of a matrix that is large both ways: the block Krylov method from a seeded random block (Musco, Musco
      2015, Alg. 2), until a pass takes less than 1e-3 off the squared error. ‖A − QQᵀA‖_F is then within 1e-3 of the
      least one, relative to it, and zero to rounding where A has rank ``rank``.
    - Else eigenvectors V of AAᵀ, or for a tall matrix the orthogonal factor of AV, V those of AᵀA, to rounding relative
      to σ_1²; where kept singular values fall below 1e-6 σ_1, the SVD, of a wide matrix that of the triangular factor
      of Aᵀ, to rounding relative to σ_1.
    """
    rows, columns = matrix.shape[-2:]
    if rank == rows:
        return identity_like(matrix, rows, rows).expand(*matrix.shape[:-1], rows)
    if min(rows, columns) > SMALL and rank <= FEW * min(rows, columns):
        return _by_iteration(matrix, rank)
    is_tall = rows > columns
    eigenvalues, vectors = torch.linalg.eigh(gram(matrix))
    kept = eigenvalues[..., -rank].clamp(min=0).sqrt()
    if (kept < SMALLEST_BY_GRAM * eigenvalues[..., -1].clamp(min=0).sqrt()).any():
        factor = matrix if is_tall else _triangular_factor(matrix)
        return torch.linalg.svd(factor, full_matrices=False)[0][..., :rank]
    vectors = vectors[..., -rank:].flip(-1)
    return torch.linalg.qr(matrix @ vectors)[0] if is_tall else vectors


def leading_part(matrix: Tensor, rank: int) -> Tensor:
    """Return QᵀA ``(..., rank, m)``, Q a leading basis of A: the squares of its norms are right to rounding of σ_1².

    For a tall matrix Q is never formed: QᵀA = diag(σ)Vᵀ, from eigenvectors of AᵀA.
    """
    rows, columns = matrix.shape[-2:]
    if rows <= columns or (columns > SMALL and rank <= FEW * columns):
        return leading_basis(matrix, rank).mT @ matrix
    eigenvalues, vectors = torch.linalg.eigh(gram(matrix))
    scaled = vectors[..., -rank:] * eigenvalues[..., -rank:].clamp(min=0).sqrt().unsqueeze(-2)
    return scaled.flip(-1).mT


def squared_values(matrix: Tensor) -> Tensor:
    """Return the squares of all singular values, descending, to rounding relative to the largest square."""
    return torch.linalg.eigvalsh(gram(matrix)).clamp(min=0).flip(-1)


def gram(matrix: Tensor) -> Tensor:
    """Return AAᵀ or AᵀA, whichever is smaller."""
    return _gram_of_rows(matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT)


def _gram_of_rows(matrix: Tensor) -> Tensor:
    """Return AAᵀ, of whose blocks that lie opposite each other one is computed."""
    rows = matrix.shape[-2]
    if rows <= _BLOCK:
        return matrix @ matrix.mT
    first, second = matrix[..., : rows // 2, :], matrix[..., rows // 2 :, :]
    corner = first @ second.mT
    above = torch.cat([_gram_of_rows(first), corner], dim=-1)
    return torch.cat([above, torch.cat([corner.mT, _gram_of_rows(second)], dim=-1)], dim=-2)


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return U ``(..., n, rank)``, descending s ``(..., rank)`` and V ``(..., m, rank)`` of ``(..., n, m)``.

    With the accuracy of :func:`leading_basis`, and the SVD itself for small matrices.
    """
    rows, columns = matrix.shape[-2:]
    if rows > columns:
        right, values, left = truncated_svd(matrix.mT, rank)
        return left, values, right
    if columns <= SMALL:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        return left[..., :rank], values[..., :rank], right[..., :rank, :].mT
    basis = leading_basis(matrix, rank)
    rotation, values, right = torch.linalg.svd(basis.mT @ matrix, full_matrices=False)
    return basis @ rotation, values, right.mT


def singular_values(matrix: Tensor) -> Tensor:
    """Return all singular values of ``(..., n, m)``, descending, to rounding relative to the largest."""
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    return torch.linalg.svdvals(_triangular_factor(wide) if wide.shape[-1] > 2 * wide.shape[-2] else wide)


def _triangular_factor(matrix: Tensor) -> Tensor:
    """Return L ``(..., n, n)`` with A = LQᵀ, Q orthonormal, for wide ``(..., n, m)``, some columns at a time."""
    rows = matrix.shape[-2]
    triangle = matrix.new_zeros(*matrix.shape[:-2], 0, rows)
    for chunk in matrix.split(max(_CHUNK * rows, _ENTRIES // max(1, rows)), dim=-1):
        triangle = torch.linalg.qr(torch.cat([triangle, chunk.mT], dim=-2), mode="r")[1]
    return triangle.mT


def _by_iteration(matrix: Tensor, rank: int) -> Tensor:
    width = rank + OVERSAMPLING
    generator = torch.Generator(matrix.device).manual_seed(0)
    random = torch.randn(matrix.shape[-1], width, dtype=matrix.dtype, device=matrix.device, generator=generator)
    total = torch.linalg.vector_norm(matrix, dim=(-2, -1)).square()
    rounding = width * torch.finfo(matrix.dtype).eps * total
    captured = torch.zeros_like(total)
    block = torch.linalg.qr(matrix @ random)[0]
    basis, images = block[..., :0], matrix.mT[..., :0]
    while True:
        basis, images = torch.cat([basis, block], dim=-1), torch.cat([images, matrix.mT @ block], dim=-1)
        eigenvalues, rotation = torch.linalg.eigh(images.mT @ images)
        before, captured = captured, eigenvalues[..., -rank:].sum(dim=-1)
        has_converged = (captured - before <= PROGRESS * (total - captured) + rounding).all()
        if has_converged or basis.shape[-1] + width > matrix.shape[-2]:
            return basis @ rotation[..., -rank:].flip(-1)
        block = matrix @ images[..., -width:]
        for _ in range(2):  # a second time for what rounding leaves of the first
            block = torch.linalg.qr(block - basis @ (basis.mT @ block))[0]
