"""Logarithms of the Stiefel manifold (canonical metric) and of the Grassmann manifold, batched."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ._matrices import identity_like
from ._matrix_equations import rotation_logarithm

_MOST_STEPS: Final = 200


def stiefel_logarithm(x: Tensor, y: Tensor) -> Tensor:
    """Return the Ξ with Exp_X(Ξ) = Y in the canonical metric.

    Zimmermann and Hüper 2022 (arXiv:2103.12046), Alg. 4: of all rotations V = [[M, ·], [N, ·]] whose first columns are
    Y in the basis [X Q], the one is sought whose logarithm has a vanishing lower right block. The other columns start
    from a Procrustes fit to the identity, and each step rotates them by a Cayley transform. Here the fit also keeps
    det V = 1, without which V has no real logarithm, and Q has as many columns as X's complement allows.

    Args:
        x: frames X of shape ``(..., n, p)``.
        y: frames Y of the same shape.

    Raises:
        ValueError: a Y is too far from its X for the iteration.
    """
    rows, columns = x.shape[-2:]
    width = min(columns, rows - columns)
    gram = x.mT @ y
    outside = y - x @ gram
    complement = torch.linalg.qr(torch.cat((x, outside), dim=-1))[0][..., columns : columns + width]
    rotation = _completed(torch.cat((gram, complement.mT @ y), dim=-2), columns)
    tolerance = 20 * torch.finfo(x.dtype).eps
    for _ in range(_MOST_STEPS):
        logarithm = rotation_logarithm(rotation)
        corner = logarithm[..., columns:, columns:]
        if not width or bool((torch.linalg.matrix_norm(corner) <= tolerance * width).all()):
            break
        turn = _turn(logarithm[..., columns:, :columns], corner)
        rotation = torch.cat((rotation[..., :columns], rotation[..., columns:] @ turn), dim=-1)
    else:
        raise ValueError(
            f"y must be nearer to x: its logarithm was not found in {_MOST_STEPS} steps; go there in parts"
        )
    # A rotation by π has no unique logarithm, and where det M = −1 without a complement to turn through there is none.
    if not torch.allclose(torch.linalg.matrix_exp(logarithm), rotation, atol=1e3 * tolerance):
        raise ValueError(
            "y must be nearer to x: no geodesic joins them, or none that is the shortest; go there in parts"
        )
    return x @ logarithm[..., :columns, :columns] + complement @ logarithm[..., columns:, :columns]


def principal_angles(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the principal angles θ ``(..., p)`` between subspaces, and vectors that vanish with the angles.

    The vectors are D = (I − XXᵀ)Y*V, of norms sin θ, Y* the frame in Y's subspace nearest to X and XᵀY* = V cos(θ)Vᵀ.
    Where cosines coincide in floating point V is uncertain, but the angles then differ as little. From sine and
    cosine together each angle keeps all its digits.

    Args:
        x: frames X of shape ``(..., n, p)``.
        y: frames Y of the same shape.

    Returns:
        θ, and [D, V] stacked in rows ``(..., n + p, p)``.
    """
    left, cosines, right = torch.linalg.svd(x.mT @ y)
    aligned = y @ right.mT
    outside = aligned - x @ (x.mT @ aligned)
    angles = torch.atan2(torch.linalg.vector_norm(outside, dim=-2), cosines)
    return angles, torch.cat((outside, left), dim=-2)


def grassmann_logarithm(x: Tensor, y: Tensor) -> Tensor:
    """Return the horizontal Ξ whose geodesic from X ends in the subspace of Y.

    As Bendokat, Zimmermann, Absil 2024 (arXiv:2011.13699), Alg. 5.3, but for the second SVD: the vectors outside X that
    belong to the principal angles are at hand, and scaled from length sin θ to θ they give Ξ.

    Args:
        x: frames X of shape ``(..., n, p)``.
        y: frames Y of the same shape.
    """
    angles, stacked = principal_angles(x, y)
    outside, vectors = stacked.split((x.shape[-2], x.shape[-1]), dim=-2)
    return (outside / torch.sinc(angles / torch.pi).unsqueeze(-2)) @ vectors.mT


def _completed(frame: Tensor, columns: int) -> Tensor:
    """Return a rotation whose first columns are the frame, and whose lower right block is near a positive matrix."""
    size = frame.shape[-2]
    rest = torch.linalg.qr(frame, mode="complete")[0][..., columns:]
    left, _, right = torch.linalg.svd(rest[..., columns:, :])
    rest = rest @ right.mT
    rotation = torch.cat((frame, rest @ left.mT), dim=-1)
    if size > columns:
        # Without a rotation there would be no logarithm: the smallest singular value pays for its sign.
        sign = torch.where(torch.linalg.det(rotation) < 0, -1.0, 1.0).to(frame)
        signs = torch.cat((torch.ones_like(rest[..., 0, 1:]), sign.unsqueeze(-1)), dim=-1)
        rotation = torch.cat((frame, (rest * signs.unsqueeze(-2)) @ left.mT), dim=-1)
    return rotation


def _turn(off_diagonal: Tensor, corner: Tensor) -> Tensor:
    """Return the Cayley transform of the skew Γ with C = SΓ + ΓS, S = BBᵀ/12 − ½I (Zimmermann and Hüper, Sec. 4)."""
    size = corner.shape[-1]
    identity = identity_like(corner, size, size)
    values, vectors = torch.linalg.eigh(off_diagonal @ off_diagonal.mT / 12 - identity / 2)
    rotated = vectors.mT @ corner @ vectors / (values.unsqueeze(-1) + values.unsqueeze(-2))
    turn = vectors @ rotated @ vectors.mT
    return torch.linalg.solve(identity - turn / 2, identity + turn / 2)
