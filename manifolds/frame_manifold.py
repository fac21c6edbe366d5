"""What the manifolds of frames share: the part of the geoopt interface that asks for XᵀX = I alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geoopt
import torch
from torch import Tensor

from .matrices import haar_frame, identity_like, newton_schulz_polish, polar_factor
from .retractions import QR, Retraction

if TYPE_CHECKING:
    from collections.abc import Sequence


class FrameManifold(geoopt.Manifold):
    """Frames X of shape ``(..., n, p)``, n ≥ p, with XᵀX = I: the base of :class:`Stiefel` and :class:`Grassmann`.

    The interface is geoopt's, and so are the argument names ``x``, ``y`` (points), ``u``, ``v`` (vectors). Two
    manifolds of one kind, metric and retraction are equal, so that optimizers can take their parameters together.
    """

    ndim = 2
    reversible = False

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

    def extra_repr(self) -> str:
        """Return the retraction for the printed form."""
        return f"retraction={self.retraction}"

    # --- points ---

    def projx(self, x: Tensor) -> Tensor:
        """Return the frame nearest to ``x`` in the Frobenius norm: its polar factor."""
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
        return geoopt.ManifoldTensor(haar_frame(*shape, dtype=dtype, device=device, generator=generator), manifold=self)

    def origin(
        self,
        *size: int | Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = 42,
    ) -> geoopt.ManifoldTensor:
        """Return the truncated identity, expanded to ``size`` = (..., n, p); the seed is not used."""
        shape = self._shape(size)
        identity = torch.eye(*shape[-2:], dtype=dtype, device=device)
        return geoopt.ManifoldTensor(identity.expand(shape).clone(), manifold=self)

    # --- moving ---

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of the tangent vector ``u`` at ``x``."""
        return self.retraction.retract(self, x, u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Transport ``v`` from ``x`` to ``y`` by projection to the tangent space at ``y``."""
        return self.proju(y, v)

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the retraction of ``u`` at ``x``, and ``v`` moved along it by the retraction's transport."""
        end = self.retr(x, u)
        return end, self.retraction.transport(self, x, u, v, end)

    def transp_follow_retr(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` moved along the retraction of ``u`` at ``x``."""
        return self.retr_transp(x, u, v)[1]

    # --- what geoopt asks of a manifold's checks ---

    def _shape(self, size: Sequence[int | Sequence[int]]) -> torch.Size:
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)  # type: ignore[arg-type]
        self._assert_check_shape(shape, "size")
        return shape

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


def geodesic(x: Tensor, u: Tensor, corner: Tensor) -> Tensor:
    """Return [X Q] exp([[C, −Bᵀ], [B, 0]]) I, which all exponential maps share (Edelman, Arias, Smith 1998, Cor. 2.2).

    Q is an orthonormal basis of X's complement that contains the columns of K = (I − XXᵀ)Ξ, and B = QᵀK. Q is taken
    from the QR decomposition of [X K] and not of K, whose own Q would leave the complement of X where K loses rank;
    this also serves n < 2p, where Q has only n − p columns.

    Args:
        x: frames X of shape ``(..., n, p)``.
        u: tangent vectors Ξ of the same shape.
        corner: skew matrices C of shape ``(..., p, p)``.
    """
    rows, columns = x.shape[-2:]
    width = min(columns, rows - columns)
    normal = u - x @ (x.mT @ u)
    complement = torch.linalg.qr(torch.cat((x, normal), dim=-1))[0][..., columns : columns + width]
    off_diagonal = complement.mT @ normal
    upper = torch.cat((corner, -off_diagonal.mT), dim=-1)
    lower = torch.cat((off_diagonal, off_diagonal.new_zeros(*off_diagonal.shape[:-1], width)), dim=-1)
    rotation = torch.linalg.matrix_exp(torch.cat((upper, lower), dim=-2))[..., :columns]
    return torch.cat((x, complement), dim=-1) @ rotation


def polished(frame: Tensor) -> Tensor:
    """Return the frame after two Newton–Schulz steps: geodesics keep XᵀX as they find it, rounding included."""
    return newton_schulz_polish(newton_schulz_polish(frame))
