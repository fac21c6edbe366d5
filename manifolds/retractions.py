"""Retractions on the Stiefel and Grassmann manifolds, as objects.

A retraction R_X maps a tangent vector Ξ at X to a point, with R_X(0) = X and dR_X(0)[Ξ] = Ξ. Each object owns the
vector transport that goes with it and holds no state, so that two of one kind and one setting are equal.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .matrices import cholesky_qr, identity_like, newton_schulz_polish

if TYPE_CHECKING:
    import geoopt


class Retraction(abc.ABC):
    """A map from tangent vectors to points, and the vector transport along it."""

    @abc.abstractmethod
    def retract(self, manifold: geoopt.Manifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return R_X(Ξ).

        Args:
            manifold: the manifold that X lies on; only the exponential map needs its metric.
            point: frames X of shape ``(..., n, p)``.
            tangent_vector: tangent vectors Ξ at X of the same shape.
        """

    def transport(
        self, manifold: geoopt.Manifold, point: Tensor, step: Tensor, tangent_vector: Tensor, end: Tensor
    ) -> Tensor:
        """Return the tangent vector moved along ``step`` from ``point`` to ``end`` = R_X(step): here by projection."""
        return manifold.proju(end, tangent_vector)


@dataclass(frozen=True)
class QR(Retraction):
    """Orthogonal factor of X + Ξ with a positive diagonal of R, by Cholesky-QR; first order.

    (X + Ξ)ᵀ(X + Ξ) = I + ΞᵀΞ for tangent Ξ, so X + Ξ never loses rank (Absil, Mahony, Sepulchre 2008, Ex. 4.1.3).
    The Gram matrix is computed from X + Ξ and not from Ξ alone, so that a step repairs the rounding of the last one.
    """

    def retract(self, manifold: geoopt.Manifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the orthogonal factor of X + Ξ; see the base class."""
        return cholesky_qr(point + tangent_vector)


@dataclass(frozen=True)
class Polar(Retraction):
    """The frame nearest to X + Ξ, (X + Ξ)(I + ΞᵀΞ)^(−1/2); second order for the Euclidean metric.

    The inverse square root comes from the eigenvalues of the p × p Gram matrix; what rounding leaves, at most
    u·‖X + Ξ‖₂², falls quadratically in the Newton–Schulz steps that follow (Absil, Mahony, Sepulchre 2008, Ex. 4.1.3).
    """

    polishes: int = 3

    def retract(self, manifold: geoopt.Manifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the polar factor of X + Ξ; see the base class."""
        ambient = point + tangent_vector
        eigenvalues, eigenvectors = torch.linalg.eigh(ambient.mT @ ambient)
        # The eigenvalues of I + ΞᵀΞ are at least 1; rounding of a long step may push them below.
        inverse_root = (eigenvectors * eigenvalues.clamp(min=1.0).rsqrt().unsqueeze(-2)) @ eigenvectors.mT
        frame = ambient @ inverse_root
        for _ in range(self.polishes):
            frame = newton_schulz_polish(frame)
        return frame


@dataclass(frozen=True)
class Cayley(Retraction):
    """(I − ½W)⁻¹(I + ½W)X with W = PΞXᵀ − XΞᵀP, P = I − ½XXᵀ; second order for the canonical metric.

    Wen and Yin 2013, Sec. 2.2: with A = [PΞ, X] and B = [X, −PΞ] the n × n inverse becomes the 2p × 2p one in
    X + A(I − ½BᵀA)⁻¹BᵀX. The map keeps XᵀX as it finds it, rounding included; the polishes bring it back to I.
    """

    polishes: int = 2

    def retract(self, manifold: geoopt.Manifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the Cayley transform of the step applied to X; see the base class."""
        horizontal = tangent_vector - point @ (point.mT @ tangent_vector) / 2
        left = torch.cat((horizontal, point), dim=-1)
        right = torch.cat((point, -horizontal), dim=-1)
        width = left.shape[-1]
        system = identity_like(point, width, width) - right.mT @ left / 2
        frame = point + left @ torch.linalg.solve(system, right.mT @ point)
        for _ in range(self.polishes):
            frame = newton_schulz_polish(frame)
        return frame


@dataclass(frozen=True)
class Exponential(Retraction):
    """The geodesic of the manifold's own metric."""

    def retract(self, manifold: geoopt.Manifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return Exp_X(Ξ); see the base class."""
        return manifold.expmap(point, tangent_vector)
