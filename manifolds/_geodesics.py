"""Geodesics of frames, the vectors that move with them, and their derivatives.

All are of the form γ = [X Q] exp(S) I · exp(−T) with S = [[C, −Bᵀ], [B, 0]] (Edelman, Arias, Smith 1998, Cor. 2.2):
Q is an orthonormal basis of a part of X's complement that contains the columns of K = (I − XXᵀ)Ξ, and B = QᵀK. The
metric decides on the skew p × p matrices C and T, its *generators*. Exponents are skew, which keeps float32 accurate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._matrices import beside, matrix_exponential, newton_schulz_polish

Generators = tuple[Tensor, Tensor | None]
"""The corner C of the exponent on the left, and T, which is None where it vanishes."""


def geodesic(x: Tensor, u: Tensor, generators: Generators) -> Tensor:
    """Return the end of the geodesic from ``x`` along ``u``.

    Args:
        x: frames X of shape ``(..., n, p)``.
        u: tangent vectors Ξ of the same shape.
        generators: C and T of shape ``(..., p, p)``.
    """
    corner, right = generators
    basis = _basis(x, u)
    end = basis @ matrix_exponential(_exponent(basis, u, corner))[..., : x.shape[-1]]
    if right is not None:
        end = end @ matrix_exponential(-right)
    # The exponential of a skew matrix is orthogonal but for rounding, and [X Q] is as orthonormal as X was.
    return newton_schulz_polish(newton_schulz_polish(end))


def geodesic_rotation(x: Tensor, u: Tensor, generators: Generators, v: Tensor) -> Tensor:
    """Return exp(W)·v·exp(−T), where W = [X Q] S [X Q]ᵀ: the vector ``v`` moved along with the geodesic's frame."""
    corner, right = generators
    basis = _basis(x, u)
    inside = basis.mT @ v
    moved = v + basis @ (matrix_exponential(_exponent(basis, u, corner)) @ inside - inside)
    return moved if right is None else moved @ matrix_exponential(-right)


def geodesic_differential(x: Tensor, u: Tensor, h: Tensor, along: Generators, across: Generators) -> Tensor:
    """Return the derivative of the geodesic's end when ``u`` changes in the direction ``h``.

    The basis holds the columns of both vectors, so that the exponents depend linearly on u, whatever the rank of K.

    Args:
        x: frames X.
        u: tangent vectors Ξ.
        h: tangent vectors H.
        along: the generators of Ξ.
        across: the generators of H.
    """
    columns = x.shape[-1]
    basis = _basis(x, u, h)
    rotation, change = _exponential_and_derivative(_exponent(basis, u, along[0]), _exponent(basis, h, across[0]))
    change = basis @ change[..., :columns]
    if along[1] is None or across[1] is None:
        return change
    right, right_change = _exponential_and_derivative(-along[1], -across[1])
    return change @ right + basis @ rotation[..., :columns] @ right_change


def _basis(x: Tensor, *vectors: Tensor) -> Tensor:
    """Return [X Q], Q an orthonormal basis of X's complement that spans the vectors' part outside X.

    Q is taken from the QR decomposition of [X K] and not of K, whose own Q would leave the complement of X where K
    loses rank; this also serves where K has more columns than the complement has dimensions.
    """
    rows, columns = x.shape[-2:]
    width = min(columns * len(vectors), rows - columns)
    normal = [v - x @ (x.mT @ v) for v in vectors]
    complement = torch.linalg.qr(beside(x, *normal))[0][..., columns : columns + width]
    return torch.cat((x.expand(*complement.shape[:-2], *x.shape[-2:]), complement), dim=-1)


def _exponent(basis: Tensor, vector: Tensor, corner: Tensor) -> Tensor:
    """Return S = [[C, −Bᵀ], [B, 0]] of a tangent vector in the basis."""
    columns = corner.shape[-1]
    off_diagonal = basis[..., columns:].mT @ vector
    width = off_diagonal.shape[-2]
    upper = torch.cat((corner, -off_diagonal.mT), dim=-1)
    lower = torch.cat((off_diagonal, off_diagonal.new_zeros(*off_diagonal.shape[:-1], width)), dim=-1)
    return torch.cat((upper, lower), dim=-2)


def _exponential_and_derivative(matrix: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(A) and its derivative in a direction E, both from exp([[A, E], [0, A]]) (Higham 2008, Eq. 3.16)."""
    size = matrix.shape[-1]
    upper = torch.cat((matrix, direction), dim=-1)
    lower = torch.cat((torch.zeros_like(matrix), matrix), dim=-1)
    exponential = matrix_exponential(torch.cat((upper, lower), dim=-2))
    return exponential[..., :size, :size], exponential[..., :size, size:]
