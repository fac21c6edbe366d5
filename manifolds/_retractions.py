"""Retractions on the Stiefel and Grassmann manifolds, as objects.

They hold no state, so that two of one kind and one setting are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from ._geodesics import geodesic_differential, geodesic_rotation
from ._matrices import beside, cholesky_qr, identity_like, newton_schulz_polish, symmetric_part
from ._matrix_equations import lyapunov_solution, triangular_lyapunov_solution
from ._require import require_integer
from ._retraction import Retraction, Transport

if TYPE_CHECKING:
    from ._frame_manifold import FrameManifold

__all__ = ["QR", "Cayley", "Exponential", "Polar", "Retraction", "Transport"]


@final
@dataclass(frozen=True, repr=False)
class QR(Retraction):
    """Orthogonal factor of X + Ξ with a positive diagonal of R, by Cholesky-QR; first order.

    (X + Ξ)ᵀ(X + Ξ) = I + ΞᵀΞ for tangent Ξ, so X + Ξ never loses rank (Absil, Mahony, Sepulchre 2008, Ex. 4.1.3).
    The Gram matrix is computed from X + Ξ and not from Ξ alone, so that a step repairs the rounding of the last one.
    """

    def retract(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the orthogonal factor of X + Ξ; see the base class."""
        return cholesky_qr(point + tangent_vector)

    def retract_short(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the orthogonal factor of X + Ξ in one pass; see the base class."""
        return cholesky_qr(point + tangent_vector, passes=1)

    def inverse(self, manifold: FrameManifold, point: Tensor, end: Tensor) -> Tensor:
        """Return YR − X, where XᵀYR + RᵀYᵀX = 2I makes it tangent (Kaneko, Fiori, Tanaka 2013, Sec. III)."""
        if manifold.is_quotient:  # QR and polar factor span one subspace
            return Polar().inverse(manifold, point, end)
        return end @ triangular_lyapunov_solution(point.mT @ end) - point

    def differential(
        self, manifold: FrameManifold, point: Tensor, step: Tensor, direction: Tensor, end: Tensor
    ) -> Tensor:
        """Return Yρ(YᵀHR⁻¹) + (I − YYᵀ)HR⁻¹, ρ(B) = L − Lᵀ of the strictly lower triangle L of B.

        Absil, Mahony, Sepulchre 2008, Ex. 8.1.5.
        """
        triangular = (end.mT @ (point + step)).triu()
        scaled = torch.linalg.solve_triangular(triangular, direction, upper=True, left=False)
        inside = end.mT @ scaled
        lower = inside.tril(-1)
        return scaled - end @ (inside - lower + lower.mT)


@final
@dataclass(frozen=True, repr=False)
class Polar(Retraction):
    """The frame nearest to X + Ξ, (X + Ξ)(I + ΞᵀΞ)^(−1/2); second order for the Euclidean metric.

    The inverse square root comes from the eigenvalues of the p × p Gram matrix; what rounding leaves, at most
    u·‖X + Ξ‖₂², falls quadratically in the Newton–Schulz steps that follow (Absil, Mahony, Sepulchre 2008, Ex. 4.1.3).
    """

    polishes: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("polishes", self.polishes, least=0)

    def retract(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the polar factor of X + Ξ; see the base class."""
        ambient = point + tangent_vector
        eigenvalues, eigenvectors = torch.linalg.eigh(ambient.mT @ ambient)
        # The eigenvalues of I + ΞᵀΞ are at least 1; rounding of a long step may push them below.
        inverse_root = (eigenvectors * eigenvalues.clamp(min=1.0).rsqrt().unsqueeze(-2)) @ eigenvectors.mT
        frame = ambient @ inverse_root
        for _ in range(self.polishes):
            frame = newton_schulz_polish(frame)
        return frame

    def inverse(self, manifold: FrameManifold, point: Tensor, end: Tensor) -> Tensor:
        """Return YS − X, where the symmetric S with XᵀYS + SYᵀX = 2I makes it tangent.

        Kaneko, Fiori, Tanaka 2013, Sec. III.
        """
        end = manifold.representative(point, end)
        return end @ lyapunov_solution(point.mT @ end) - point

    def differential(
        self, manifold: FrameManifold, point: Tensor, step: Tensor, direction: Tensor, end: Tensor
    ) -> Tensor:
        """Return YΩ + (I − YYᵀ)HP⁻¹, with P = YᵀZ of Z = X + Ξ = YP, and skew Ω with ΩP + PΩ = YᵀH − HᵀY.

        Both equations are solved in the eigenvectors of P.
        """
        values, vectors = torch.linalg.eigh(symmetric_part(end.mT @ (point + step)))
        inside = end.mT @ direction
        twist = vectors.mT @ (inside - inside.mT) @ vectors / (values.unsqueeze(-1) + values.unsqueeze(-2))
        outside = direction - end @ inside
        return (end @ (vectors @ twist) + (outside @ vectors) / values.unsqueeze(-2)) @ vectors.mT


@final
@dataclass(frozen=True, repr=False)
class Cayley(Retraction):
    """(I − ½W)⁻¹(I + ½W)X with W = PΞXᵀ − XΞᵀP, P = I − ½XXᵀ; second order for the canonical metric.

    Wen and Yin 2013, Sec. 2.2: with A = [PΞ, X] and B = [X, −PΞ] the n × n inverse becomes the 2p × 2p one in
    X + A(I − ½BᵀA)⁻¹BᵀX. The map keeps XᵀX as it finds it, rounding included; the polishes bring it back to I, three
    of them also where the system's condition, which grows as ‖Ξ‖₂², has cost all but the leading digits.

    ``geoopt.optim.RiemannianLineSearch`` takes the transported step for the derivative of the curve t → R_X(tΞ). It is
    that with ``Transport.DIFFERENTIAL`` alone; the other two transports differ from it, in the canonical metric too.
    """

    polishes: int = 3
    is_rotation: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("polishes", self.polishes, least=0)

    def retract(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the Cayley transform of the step applied to X; see the base class."""
        frame = self.rotated(manifold, point, tangent_vector, point)
        for _ in range(self.polishes):
            frame = newton_schulz_polish(frame)
        return frame

    def inverse(self, manifold: FrameManifold, point: Tensor, end: Tensor) -> Tensor:
        """Return 2Y(I + XᵀY)⁻¹ + 2X(I + YᵀX)⁻¹ − 2X (Siegel 2021, Sec. 4)."""
        end = manifold.representative(point, end)
        gram = identity_like(point, point.shape[-1], point.shape[-1]) + point.mT @ end
        return 2 * (torch.linalg.solve(gram, end, left=False) + torch.linalg.solve(gram.mT, point, left=False) - point)

    def differential(
        self, manifold: FrameManifold, point: Tensor, step: Tensor, direction: Tensor, end: Tensor
    ) -> Tensor:
        """Return ½(I − ½W)⁻¹W'(X + Y), where W' is the W of H: the derivative of (I − ½W)Y = (I + ½W)X."""
        left, right, system = self._factors(point, step)
        turned, back, _ = self._factors(point, direction)
        half = turned @ (back.mT @ (point + end)) / 2
        return half + left @ _solve(system, right.mT @ half) / 2

    def rotated(self, manifold: FrameManifold, point: Tensor, step: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return (I − ½W)⁻¹(I + ½W)H: see the base class."""
        left, right, system = self._factors(point, step)
        return tangent_vector + left @ _solve(system, right.mT @ tangent_vector)

    @staticmethod
    def _factors(point: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return A and B with W = ABᵀ, and I − ½BᵀA."""
        half = step - point @ (point.mT @ step) / 2
        left, right = beside(half, point), beside(point, -half)
        width = left.shape[-1]
        return left, right, identity_like(point, width, width) - right.mT @ left / 2


@final
@dataclass(frozen=True, repr=False)
class Exponential(Retraction):
    """The geodesic of the manifold's own metric."""

    is_rotation: ClassVar[bool] = True

    def retract(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return Exp_X(Ξ); see the base class."""
        return manifold.expmap(point, tangent_vector)

    def inverse(self, manifold: FrameManifold, point: Tensor, end: Tensor) -> Tensor:
        """Return Log_X(Y), where the manifold has one."""
        return manifold.logmap(point, end)

    def differential(
        self, manifold: FrameManifold, point: Tensor, step: Tensor, direction: Tensor, end: Tensor
    ) -> Tensor:
        """Return the Jacobi field along the geodesic, at its end."""
        generators = manifold.geodesic_generators(point, step), manifold.geodesic_generators(point, direction)
        return geodesic_differential(point, step, direction, *generators)

    def rotated(self, manifold: FrameManifold, point: Tensor, step: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the vector under the rotations, from the left and from the right, that make the geodesic."""
        return geodesic_rotation(point, step, manifold.geodesic_generators(point, step), tangent_vector)


def _solve(system: Tensor, right_hand_side: Tensor) -> Tensor:
    """Return the solution for I − ½BᵀA, as regular as I − ½W of a skew W: nothing to wait for a GPU's report about."""
    solution: Tensor = torch.linalg.solve_ex(system, right_hand_side)[0]
    return solution
