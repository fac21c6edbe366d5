"""Batched matrix equations and a matrix logarithm, for inverse retractions and logarithms of manifolds."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ._matrices import identity_like, polar_factor

# Newton's method doubles the digits once its iterates are near I: five steps from there, and as many to come near.
_SIGN_STEPS: Final = 12


def lyapunov_solution(matrix: Tensor) -> Tensor:
    """Return the symmetric S with MS + SMᵀ = 2I, for M whose eigenvalues have positive real parts.

    Newton's iteration for the sign of [[M, 2I], [0, −Mᵀ]] (Roberts 1980), scaled by Frobenius norms (Higham 2008, Sec.
    5.5), of which two blocks do: M goes to I and 2I to 2S.

    Args:
        matrix: M of shape ``(..., p, p)``.
    """
    size = matrix.shape[-1]
    solution = 2 * identity_like(matrix, size, size).expand_as(matrix)
    for _ in range(_SIGN_STEPS):
        inverse = torch.linalg.inv(matrix)
        scale = (torch.linalg.matrix_norm(inverse) / torch.linalg.matrix_norm(matrix)).sqrt()[..., None, None]
        matrix = (scale * matrix + inverse / scale) / 2
        solution = (scale * solution + inverse @ solution @ inverse.mT / scale) / 2
    return (solution + solution.mT) / 4


def triangular_lyapunov_solution(matrix: Tensor) -> Tensor:
    """Return the upper triangular R with MR + RᵀMᵀ = 2I, for M without a singular leading block.

    Column by column (Kaneko, Fiori, Tanaka 2013, Alg. 1): above the diagonal column k of the equation says
    (MR)_{jk} = −(MR)_{kj}, which earlier columns have settled, and on the diagonal (MR)_{kk} = 1.

    Args:
        matrix: M of shape ``(..., p, p)``.
    """
    size = matrix.shape[-1]
    columns: list[Tensor] = []
    for k in range(size):
        settled = [-(matrix[..., k, : j + 1] * column[..., : j + 1]).sum(dim=-1) for j, column in enumerate(columns)]
        target = torch.stack((*settled, torch.ones_like(matrix[..., 0, 0])), dim=-1)
        head = torch.linalg.solve(matrix[..., : k + 1, : k + 1], target.unsqueeze(-1)).squeeze(-1)
        columns.append(torch.nn.functional.pad(head, (0, size - k - 1)))
    return torch.stack(columns, dim=-1)


def rotation_logarithm(rotation: Tensor) -> Tensor:
    """Return the skew logarithm of rotations ``(..., m, m)`` whose angles are below π.

    The square root of a rotation is the polar factor of I + V; the Cayley transform of that root is a skew matrix with
    the eigenvalues i·tan(θ/4), at most i, and Hermitian solvers diagonalize it without loss, clustered angles included.
    """
    size = rotation.shape[-1]
    identity = identity_like(rotation, size, size)
    root = polar_factor(identity + rotation)
    # At an angle of π the root may have the eigenvalue −1: what comes out then is no logarithm, but finite.
    cayley = torch.linalg.solve_ex(root + identity, root - identity)[0].nan_to_num(0.0, 0.0, 0.0)
    tangents, vectors = torch.linalg.eigh(0.5j * (cayley - cayley.mT))
    logarithm = (vectors * (-4j * tangents.atan()).unsqueeze(-2)) @ vectors.mH
    return (logarithm.real - logarithm.real.mT) / 2
