"""What the manifolds of frames share: the part of the geoopt interface that asks for XᵀX = I alone."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import geoopt
import torch
from torch import Tensor

from ._geodesics import Generators, geodesic, geodesic_rotation
from ._matrices import haar_frame, identity_like, polar_factor
from ._require import naming_points, require_fitting, require_flag, require_frame_shape, require_shape, require_source
from ._retraction import Retraction, Transport, shortened
from ._retractions import QR

if TYPE_CHECKING:
    from collections.abc import Sequence


class FrameManifold(geoopt.Manifold):
    """Frames X of shape ``(..., n, p)``, n ≥ p, with XᵀX = I: the base of :class:`Stiefel` and :class:`Grassmann`.

    The interface is geoopt's, and so are the argument names ``x``, ``y`` (points), ``u``, ``v`` (vectors). Two
    manifolds of one kind, metric and retraction are equal, so that optimizers can take their parameters together.

    Attributes:
        is_quotient: whether frames that differ by X → XQ are one point.
    """

    ndim = 2
    is_quotient: ClassVar[bool] = False

    def __init__(self, retraction: Retraction | None = None) -> None:
        super().__init__()
        retraction = QR() if retraction is None else retraction
        if not isinstance(retraction, Retraction):
            raise TypeError(
                f"retraction must be an object such as QR(), Polar(), Cayley() or Exponential(), got {retraction!r}"
            )
        self.retraction = retraction

    def _key(self) -> tuple[object, ...]:
        return (type(self), self.retraction)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameManifold) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def reversible(self) -> bool:
        """Whether a step back along the transported step returns to the start: so it does by an isometric transport.

        Samplers of geoopt ask for it. Steps beyond u^(−1/2), which :meth:`retr` cuts down, are excepted.
        """
        return self.retraction.transport is Transport.ISOMETRIC

    def extra_repr(self) -> str:
        """Return the retraction for the printed form."""
        return f"retraction={self.retraction}"

    @abc.abstractmethod
    def dimension(self, size: Sequence[int]) -> int:
        """Return the dimension of the manifold of frames of shape ``size`` = (..., n, p), of one if there are more."""

    # --- points ---

    @naming_points
    def projx(self, x: Tensor) -> Tensor:
        """Return the frame nearest to ``x`` in the Frobenius norm: its polar factor.

        Raises:
            TypeError, ValueError: ``x`` is no stack of matrices ``(..., n, p)``, n ≥ p, in float32 or float64.
        """
        require_fitting(x)
        return polar_factor(x)

    def random(
        self,
        *size: int | Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> geoopt.ManifoldTensor:
        """Draw uniformly (Haar) distributed points of shape ``size`` = (..., n, p)."""
        shape = self._shape(size)
        require_source(dtype, device, generator)
        return geoopt.ManifoldTensor(haar_frame(*shape, dtype=dtype, device=device, generator=generator), manifold=self)

    def random_naive(
        self,
        *size: int | Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> geoopt.ManifoldTensor:
        """Draw as :meth:`random` does, uniformly; geoopt's Stiefel has this name for a draw that is not."""
        return self.random(*size, dtype=dtype, device=device)

    def origin(
        self,
        *size: int | Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = 42,
    ) -> geoopt.ManifoldTensor:
        """Return the truncated identity, expanded to ``size`` = (..., n, p); the seed is not used."""
        shape = self._shape(size)
        require_source(dtype, device)
        identity = torch.eye(*shape[-2:], dtype=dtype, device=device)
        return geoopt.ManifoldTensor(identity.expand(shape).clone(), manifold=self)

    def representative(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the frame of ``y``'s point that is nearest to ``x``: ``y`` itself but in a quotient."""
        require_fitting(x, y=y)
        return y

    # --- moving ---

    @naming_points
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of ``u`` at ``x``, cut down if it is longer than u^(−1/2)."""
        require_fitting(x, u=u)
        return self.retraction.retract(self, x, shortened(u))

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Transport ``v`` from ``x`` to any ``y`` by projection to the tangent space at ``y``."""
        require_fitting(x, y=y, v=v)
        return self.proju(y, v)

    @naming_points
    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor, *, short: bool = False) -> tuple[Tensor, Tensor]:
        """Return the retraction of ``u`` at ``x``, and ``v`` moved along it by the retraction's transport.

        With ``short`` the caller vouches for ‖u‖_F ≤ :data:`~sttp.manifolds.SHORT`.
        """
        require_fitting(x, u=u, v=v)
        require_flag("short", short)
        retract = self.retraction.retract_short if short else self.retraction.retract
        u = u if short else shortened(u)
        end = retract(self, x, u)
        return end, self.retraction.transport_along(self, x, u, v, end)

    def transp_follow_retr(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` moved along the retraction of ``u`` at ``x``."""
        return self.retr_transp(x, u, v)[1]

    @naming_points
    def inverse_retr(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the tangent vector at ``x`` whose retraction is ``y``.

        Raises:
            NotImplementedError: the retraction is the exponential map of a metric whose logarithm is not known.
        """
        require_fitting(x, y=y)
        return self.retraction.inverse(self, x, y)

    # --- geodesics ---

    @abc.abstractmethod
    def geodesic_generators(self, x: Tensor, u: Tensor) -> Generators:
        """Return the generators of the geodesic from ``x`` along ``u``: C and T of its two exponentials."""

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the exponential map of the manifold's metric."""
        require_fitting(x, u=u)
        return geodesic(x, u, self.geodesic_generators(x, u))

    def expmap_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the end of the geodesic from ``x`` along ``u``, and ``v`` moved along it without change of length.

        On the Grassmann manifold this is parallel transport. On the Stiefel manifold, where that has no closed form, it
        is the rotation that carries the frame along.
        """
        require_fitting(x, u=u, v=v)
        end = self.expmap(x, u)
        return end, self.proju(end, geodesic_rotation(x, u, self.geodesic_generators(x, u), v))

    def transp_follow_expmap(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` moved along the geodesic: see :meth:`expmap_transp`."""
        return self.expmap_transp(x, u, v)[1]

    # --- what geoopt asks of a manifold's checks ---

    def _shape(self, size: Sequence[int | Sequence[int]]) -> torch.Size:
        # geoopt takes a shape as one sequence or number by number; a type checker cannot tell which one this is.
        given = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        require_frame_shape("size", given)
        return torch.Size(require_shape("size", given))

    def _check_shape(self, shape: Sequence[int], name: str) -> tuple[bool, str | None]:
        if len(shape) < 2:
            return False, f"`{name}` must have shape (..., n, p), got {tuple(shape)}; give a matrix"
        if shape[-2] < shape[-1]:
            return False, f"`{name}` must be at least as tall as wide, got {tuple(shape)}; transpose it"
        return True, None

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        gram = x.mT @ x
        if torch.allclose(gram, identity_like(x, x.shape[-1], x.shape[-1]), atol=atol, rtol=rtol):
            return True, None
        return False, f"`XᵀX != I` with atol={atol}, rtol={rtol}"

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        if torch.allclose(self.proju(x, u), u, atol=atol, rtol=rtol):
            return True, None
        return False, f"`u` is not in the tangent space, with atol={atol}, rtol={rtol}"
