"""The Grassmann manifold of subspaces, in orthonormal frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from ._frame_manifold import FrameManifold
from ._geodesics import Generators
from ._logarithms import grassmann_logarithm, principal_angles
from ._matrices import polar_factor, subtract_product
from ._require import naming_points, require_fitting, require_flag, require_frame_shape

if TYPE_CHECKING:
    from collections.abc import Sequence


@final
class Grassmann(FrameManifold):
    """Gr(n, p), the p-dimensional subspaces of Rⁿ, of dimension p(n − p), with any leading batch dimensions.

    A subspace is stored as one of its frames X ∈ St(n, p), and functions on it must not change under X → XQ with
    Q ∈ O(p). Tangent vectors are the horizontal ones, XᵀΞ = 0, which is the gauge condition of tensor trains
    (Holtz, Rohwedder, Schneider 2012, Eq. 3.3); the metric is tr(ΞᵀH) (Edelman, Arias, Smith 1998, Sec. 2.5).

    Args:
        retraction: how :meth:`retr` moves: ``QR()`` (the default), ``Polar()``, ``Cayley()`` or ``Exponential()``.
    """

    name = "Grassmann"
    is_quotient: ClassVar[bool] = True

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return (I − XXᵀ)U, the orthogonal projection of ``u`` to the horizontal space at ``x``."""
        require_fitting(x, u=u)
        return subtract_product(u, x, x.mT @ u)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Riemannian gradient (I − XXᵀ)G of the Euclidean gradient G = ``u``."""
        return self.proju(x, u)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return tr(uᵀv), of shape ``(...)``, or ``(..., 1, 1)`` with ``keepdim``; ``v`` is ``u`` by default."""
        v = u if v is None else v
        require_fitting(x, u=u, v=v)
        require_flag("keepdim", keepdim)
        return (u * v).sum(dim=(-2, -1), keepdim=keepdim)

    def geodesic_generators(self, x: Tensor, u: Tensor) -> Generators:
        """Return no corner and nothing on the right: the canonical Stiefel geodesic of a horizontal vector."""
        require_fitting(x, u=u)
        batch = u.shape[:-2] if u.shape == x.shape else torch.broadcast_shapes(x.shape[:-2], u.shape[:-2])
        return u.new_zeros(*batch, u.shape[-1], u.shape[-1]), None

    @naming_points
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the horizontal vector at ``x`` whose geodesic ends in the subspace of ``y``; at right angles, one."""
        require_fitting(x, y=y)
        return grassmann_logarithm(x, y)

    @naming_points
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ‖θ‖ of the principal angles, of shape ``(...)``, or ``(..., 1, 1)`` with ``keepdim``."""
        require_fitting(x, y=y)
        require_flag("keepdim", keepdim)
        distance = torch.linalg.vector_norm(principal_angles(x, y)[0], dim=-1)
        return distance[..., None, None] if keepdim else distance

    @naming_points
    def representative(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the frame of ``y``'s subspace that is nearest to ``x``: XᵀY is then symmetric."""
        require_fitting(x, y=y)
        return y @ polar_factor(y.mT @ x)

    def dimension(self, size: Sequence[int]) -> int:
        """Return p(n − p) for ``size`` = (..., n, p)."""
        n, p = require_frame_shape("size", size)
        return p * (n - p)
