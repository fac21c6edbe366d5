"""Logarithms of the Stiefel manifold (canonical metric) and of the Grassmann manifold, batched."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from ._matrices import identity_like, matrix_exponential, newton_schulz_polish, orthogonality_error
from ._matrix_equations import rotation_logarithm

Unreachable = Literal["raise", "nan"]
UNREACHABLE: Final[tuple[Unreachable, ...]] = ("raise", "nan")
"""What a logarithm does where it finds none."""

_MOST_STEPS: Final = 200
# ‖XᵀX − I‖_F above which a matrix is no frame, whatever precision it went through (bfloat16: 0.02 for 300 × 100).
_NO_FRAME: Final = 0.1
# No sectional curvature exceeds 5/4, and a geodesic shorter than π√(4/5) is the only shortest one (Zimmermann and Stoye
# 2024, arXiv:2405.02268). It is 2.80, and of random pairs 10 × 3 two in three are nearer.
_SURELY_SHORTEST: Final = 2.8


def stiefel_logarithm(x: Tensor, y: Tensor, unreachable: Unreachable = "raise") -> Tensor:
    """Return the Ξ with Exp_X(Ξ) = Y in the canonical metric, the shortest that was found.

    Zimmermann and Hüper 2022 (arXiv:2103.12046), Alg. 4: of all rotations V = [[M, ·], [N, ·]] whose first columns are
    Y in the basis [X Q], the one is sought whose logarithm has a vanishing lower right block. The other columns start
    from a Procrustes fit to the identity, and each step rotates them by a Cayley transform. Here the fit also keeps
    det V = 1, without which V has no real logarithm, and Q has as many columns as X's complement allows. A geodesic
    that may not be the shortest competes with one from a second start. What the points lack to frames, such as the
    rounding of a lower precision, is taken out first: the logarithm is that of the nearest frames.

    Args:
        x: frames X of shape ``(..., n, p)``.
        y: frames Y of the same shape.
        unreachable: what happens where a Y is too far from its X for the iteration: ``"raise"``, or ``"nan"`` for NaN
            in its place.

    Raises:
        ValueError: there is such a Y, or an X or Y that is no frame, and ``unreachable`` is ``"raise"``.
    """
    x, y = torch.broadcast_tensors(x, y)
    batch, (rows, columns) = x.shape[:-2], x.shape[-2:]
    x, y = x.reshape(-1, rows, columns), y.reshape(-1, rows, columns)
    error = torch.maximum(orthogonality_error(x), orthogonality_error(y))
    usable = error <= _NO_FRAME
    if unreachable == "raise" and not bool(usable.all()):
        raise ValueError(
            f"x and y must be frames, got ‖XᵀX − I‖ = {float(error.max()):.2g}; project them by the manifold's projx"
        )
    stand_in = identity_like(x, rows, columns)
    x, y = (torch.where(usable[:, None, None], point, stand_in) for point in (x, y))
    width = min(columns, rows - columns)
    complement = torch.linalg.qr(torch.cat((x, y - x @ (x.mT @ y)), dim=-1))[0][..., columns : columns + width]
    basis = _nearest_frame(torch.cat((x, complement), dim=-1))
    first, second = _completions(_nearest_frame(basis.mT @ y))
    logarithm, found = _without_corner(first, columns)
    far = ~(found & (_length(logarithm) < _SURELY_SHORTEST))
    if width > 1 and bool(far.any()):
        other, other_found = _without_corner(second[far], columns)
        better = other_found & ~(found[far] & (_length(logarithm[far]) <= _length(other)))
        logarithm = logarithm.index_put((far,), torch.where(better[:, None, None], other, logarithm[far]))
        found = found.index_put((far,), found[far] | other_found)
    if unreachable == "raise" and not bool(found.all()):
        raise ValueError(
            f"y must be nearer to x: for {int((~found).sum())} of {len(found)} points no geodesic was found in "
            f"{_MOST_STEPS} steps; go there in parts, or pass unreachable='nan'"
        )
    tangent = basis @ logarithm[..., :columns]
    return torch.where((found & usable)[:, None, None], tangent, torch.nan).reshape(*batch, rows, columns)


def _without_corner(rotation: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return logarithms without a lower right block of rotations that begin with the same columns, and where found."""
    width = rotation.shape[-1] - columns
    tolerance = 20 * torch.finfo(rotation.dtype).eps
    for step in range(_MOST_STEPS):
        logarithm = rotation_logarithm(rotation)
        corner = logarithm[..., columns:, columns:]
        found = torch.linalg.matrix_norm(corner) <= tolerance * width
        if bool(found.all()) or step + 1 == _MOST_STEPS:
            break
        turn = _turn(logarithm[..., columns:, :columns], corner)
        rotation = torch.cat((rotation[..., :columns], rotation[..., columns:] @ turn), dim=-1)
    # A rotation by π has no unique logarithm, and where det M = −1 without a complement to turn through there is none.
    difference = (matrix_exponential(logarithm) - rotation).abs().amax(dim=(-2, -1))
    return logarithm, found & (difference <= 1e3 * tolerance)


def _length(logarithm: Tensor) -> Tensor:
    """Return the length in the canonical metric: that of [[A, −Bᵀ], [B, 0]] is ½‖A‖² + ‖B‖², squared."""
    return torch.linalg.matrix_norm(logarithm) / 2**0.5


def _nearest_frame(frame: Tensor) -> Tensor:
    """Return what is a frame up to :data:`_NO_FRAME` as one up to rounding."""
    for _ in range(3):
        frame = newton_schulz_polish(frame)
    return frame


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


def _completions(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Return two rotations that begin with the columns of the frame, the first near to the identity.

    Their lower right blocks are UΣVᵀ with the smallest singular value negative where det V = 1 needs it, and the same
    with the signs of the two smallest ones changed: of what was tried this start most often led to the shortest
    geodesic where the first did not.
    """
    size, columns = frame.shape[-2:]
    rest = torch.linalg.qr(frame, mode="complete")[0][..., columns:]
    left, _, right = torch.linalg.svd(rest[..., columns:, :])
    rest = rest @ right.mT
    rotation = torch.cat((frame, rest @ left.mT), dim=-1)
    if size == columns:
        return rotation, rotation
    ones = torch.ones_like(rest[..., 0, :])
    last = torch.where(torch.linalg.det(rotation) < 0, -1.0, 1.0).to(frame).unsqueeze(-1)
    starts = []
    for sign in (1.0, -1.0):
        signs = torch.cat((ones[..., 2:], sign * ones[..., :1], sign * last), dim=-1)[..., -(size - columns) :]
        starts.append(torch.cat((frame, (rest * signs.unsqueeze(-2)) @ left.mT), dim=-1))
    return starts[0], starts[1]


def _turn(off_diagonal: Tensor, corner: Tensor) -> Tensor:
    """Return the Cayley transform of the skew Γ with C = SΓ + ΓS, S = BBᵀ/12 − ½I (Zimmermann and Hüper, Sec. 4)."""
    size = corner.shape[-1]
    identity = identity_like(corner, size, size)
    values, vectors = torch.linalg.eigh(off_diagonal @ off_diagonal.mT / 12 - identity / 2)
    rotated = vectors.mT @ corner @ vectors / (values.unsqueeze(-1) + values.unsqueeze(-2))
    turn = vectors @ rotated @ vectors.mT
    return torch.linalg.solve(identity - turn / 2, identity + turn / 2)
