"""The motion of a frame with its momentum, split into a turn within the frame and a motion out of it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..manifolds import FrameManifold, Stiefel, identity_like, newton_schulz_polish


def split_gradient(manifold: FrameManifold, points: Tensor, gradients: Tensor) -> Tensor:
    """Return the skew YG of the Riemannian gradient XYG + VG with XᵀVG = 0, of shape ``(..., p, p)``.

    ½(XᵀG − GᵀX) for the Euclidean metric, XᵀG − GᵀX for the canonical one, zero on Grassmann. VG = (I − XXᵀ)G.
    """
    inside = points.mT @ gradients
    if manifold.is_quotient:
        return torch.zeros_like(inside)
    skew = inside - inside.mT
    return skew / 2 if isinstance(manifold, Stiefel) and manifold.metric == "euclidean" else skew


def longest_turn(dtype: torch.dtype) -> float:
    """Return the norm beyond which Y and V are cut down, u^(−1/4) of the unit roundoff: 54 in float32.

    They are turns by nearly 180° and 90° then, and longer ones would cost the frame its digits.
    """
    return float(torch.finfo(dtype).eps ** -0.25)


def outside(points: Tensor, vectors: Tensor) -> Tensor:
    """Return (I − XXᵀ)Z."""
    return vectors - points @ (points.mT @ vectors)


def advance(
    manifold: FrameManifold, points: Tensor, turn: Tensor, motion: Tensor, momentum: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the frame after the turn X ← X exp(Y) and then the motion V, and the momentum carried along.

    The motion along V (both with h = 1) is the polar retraction (X + V)S, S = (I + VᵀV)^(−½), and K goes along under
    the rotation of Rⁿ that makes it, K − (XS + VB)VᵀK with B = S²(I + S)⁻¹: XᵀK = 0 and KᵀK are kept. For K = V this
    is (V − XVᵀV)S. The turn is the Cayley transform of Y. Under the Euclidean metric the geodesic has V' = −VY beside
    X' = XY, so K turns back by the same rotation; under the canonical metric it has not, and K stays.

    Args:
        manifold: Stiefel or Grassmann.
        points: frames X of shape ``(..., n, p)``.
        turn: skew Y of shape ``(..., p, p)``, no longer than :func:`longest_turn`.
        motion: V of shape ``(..., n, p)``, XᵀV = 0, no longer than that.
        momentum: K of the same shape, XᵀK = 0.
    """
    identity = identity_like(turn, turn.shape[-1], turn.shape[-1])
    # I minus a skew matrix is never singular: the check, which reads back from the device, has nothing to find.
    rotation = torch.linalg.solve_ex(identity - turn / 2, identity + turn / 2)[0]
    points = points @ rotation
    if isinstance(manifold, Stiefel) and manifold.metric == "euclidean":
        motion, momentum = motion @ rotation.mT, momentum @ rotation.mT
    moved = points + motion
    eigenvalues, eigenvectors = torch.linalg.eigh(moved.mT @ moved)
    # The eigenvalues of I + VᵀV are at least 1, but for what rounding leaves of XᵀV.
    cosines = eigenvalues.clamp(min=0.25).rsqrt().unsqueeze(-2)
    root = (eigenvectors * cosines) @ eigenvectors.mT
    bend = (eigenvectors * (cosines.square() / (1 + cosines))) @ eigenvectors.mT
    along = motion.mT @ momentum
    momentum = momentum - points @ (root @ along) - motion @ (bend @ along)
    return newton_schulz_polish(moved @ root), momentum
