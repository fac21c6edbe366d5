"""What a retraction is, and the three ways in which it transports vectors."""

from __future__ import annotations

import abc
import enum
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final, final

import torch
from torch import Tensor

from ._require import described, require_precision

if TYPE_CHECKING:
    from ._frame_manifold import FrameManifold


# Frobenius norm up to which a step is short: there one pass of Cholesky-QR keeps float32 frames feasible to 5e-6.
SHORT: Final = 4.0


def longest_step(dtype: torch.dtype) -> float:
    """Return u^(−1/2), u the distance from 1 to the next number: 2.9e3 in float32, 6.7e7 in float64.

    Beyond this Frobenius norm of Ξ the Gram matrix of X + Ξ no longer sees X, and a step that long is a divergence.
    """
    require_precision(dtype, "dtype")
    return float(torch.finfo(dtype).eps ** -0.5)


def shortened(tangent_vector: Tensor) -> Tensor:
    """Return tangent vectors ``(..., n, p)``, those beyond :func:`longest_step` cut down to it, and so feasible."""
    bound = longest_step(tangent_vector.dtype)
    length = torch.linalg.vector_norm(tangent_vector, dim=(-2, -1), keepdim=True)
    return tangent_vector * (bound / length.clamp(min=bound))


@final
class Transport(enum.StrEnum):
    """How a retraction R_X(Ξ) = Y carries a tangent vector H from X to Y.

    ``PROJECTION`` projects H to the tangent space at Y: the cheapest, and the default. ``DIFFERENTIAL`` is the
    derivative of the retraction, dR_X(Ξ)[H] (Absil, Mahony, Sepulchre 2008, Sec. 8.1.2). ``ISOMETRIC`` applies to H the
    rotation that carries X to Y, which keeps all inner products; only Cayley and the exponential map have one, and with
    the exponential map on the Grassmann manifold it is parallel transport.
    """

    PROJECTION = "projection"
    DIFFERENTIAL = "differential"
    ISOMETRIC = "isometric"

    def __repr__(self) -> str:
        """Return the name that the code uses."""
        return f"Transport.{self.name}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Retraction(abc.ABC):
    """A map from tangent vectors to points, R_X(0) = X and dR_X(0)[Ξ] = Ξ, and the vector transport along it.

    Attributes:
        transport: how tangent vectors are carried along a step.

    Raises:
        ValueError: the transport is none of the three, or is isometric where the retraction has no such transport.
    """

    transport: Transport = Transport.PROJECTION
    is_rotation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.transport, str) or self.transport not in tuple(Transport):
            choices = ", ".join(f"Transport.{item.name}" for item in Transport)
            raise ValueError(f"transport must be one of {choices}, got {described(self.transport)}")
        object.__setattr__(self, "transport", Transport(self.transport))
        if self.transport is Transport.ISOMETRIC and not self.is_rotation:
            raise ValueError(
                f"transport of {type(self).__name__} must be PROJECTION or DIFFERENTIAL, got {self.transport!r}; "
                f"Cayley and Exponential have an isometric one"
            )

    def __repr__(self) -> str:
        """Return the constructor's call, without what is left at its default."""
        pairs = ((field, getattr(self, field.name)) for field in fields(self))
        changed = (f"{field.name}={value!r}" for field, value in pairs if value != field.default)
        return f"{type(self).__name__}({', '.join(changed)})"

    @abc.abstractmethod
    def retract(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return R_X(Ξ).

        Args:
            manifold: the manifold that X lies on; only the exponential map needs its metric.
            point: frames X of shape ``(..., n, p)``.
            tangent_vector: tangent vectors Ξ at X of the same shape.
        """

    def retract_short(self, manifold: FrameManifold, point: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return R_X(Ξ) for ‖Ξ‖_F ≤ :data:`SHORT`, which the caller vouches for; a retraction may be cheaper then."""
        return self.retract(manifold, point, tangent_vector)

    def inverse(self, manifold: FrameManifold, point: Tensor, end: Tensor) -> Tensor:
        """Return the tangent vector Ξ at X with R_X(Ξ) = Y, for a Y near enough to X.

        Raises:
            NotImplementedError: there is no closed form.
        """
        raise NotImplementedError(f"{type(self).__name__} has no inverse")

    def differential(
        self, manifold: FrameManifold, point: Tensor, step: Tensor, direction: Tensor, end: Tensor
    ) -> Tensor:
        """Return dR_X(Ξ)[H], the derivative in the direction H of the end Y = R_X(Ξ) of a step Ξ.

        Unless a retraction has a closed form, which is cheaper, :meth:`retract` is differentiated: by forward-mode, or
        by two backward passes where one of its operations has no forward-mode.
        """

        def end_of(vector: Tensor) -> Tensor:
            return self.retract(manifold, point.as_subclass(Tensor), vector)

        step, direction = step.detach().as_subclass(Tensor), direction.as_subclass(Tensor)
        try:
            derivative: Tensor = torch.func.jvp(end_of, (step,), (direction,))[1]
        except (NotImplementedError, RuntimeError):
            with torch.enable_grad():
                step = step.requires_grad_()
                found = end_of(step)
                covector = torch.zeros_like(found, requires_grad=True)
                (adjoint,) = torch.autograd.grad(found, step, covector, create_graph=True)
            (derivative,) = torch.autograd.grad(adjoint, covector, direction)  # the adjoint is linear in the covector
        return derivative

    def rotated(self, manifold: FrameManifold, point: Tensor, step: Tensor, tangent_vector: Tensor) -> Tensor:
        """Return the tangent vector under the rotation that carries X to R_X(Ξ).

        Raises:
            NotImplementedError: the retraction is no rotation.
        """
        raise NotImplementedError(f"{type(self).__name__} is no rotation of the space; use Cayley or Exponential")

    def transport_along(
        self, manifold: FrameManifold, point: Tensor, step: Tensor, tangent_vector: Tensor, end: Tensor
    ) -> Tensor:
        """Return the tangent vector carried along ``step`` from ``point`` to ``end`` = R_X(step)."""
        moved = tangent_vector
        if self.transport is Transport.DIFFERENTIAL:
            moved = self.differential(manifold, point, step, tangent_vector, end)
        elif self.transport is Transport.ISOMETRIC:
            moved = self.rotated(manifold, point, step, tangent_vector)
        # The last projection does nothing to the other two but for rounding, and for the part that a quotient ignores.
        return manifold.proju(end, moved)
