"""The Grassmann manifold of subspaces, in orthonormal frames."""

from __future__ import annotations

from typing import final

from torch import Tensor

from .frame_manifold import FrameManifold, geodesic, polished


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

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return (I − XXᵀ)U, the orthogonal projection of ``u`` to the horizontal space at ``x``."""
        return u - x @ (x.mT @ u)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Riemannian gradient (I − XXᵀ)G of the Euclidean gradient G = ``u``."""
        return self.proju(x, u)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return tr(uᵀv), of shape ``(...)``, or ``(..., 1, 1)`` with ``keepdim``; ``v`` is ``u`` by default."""
        return (u * (u if v is None else v)).sum(dim=(-2, -1), keepdim=keepdim)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the end of the geodesic from ``x`` along ``u``: the canonical Stiefel one with A = 0."""
        return polished(geodesic(x, u, u.new_zeros(*u.shape[:-2], u.shape[-1], u.shape[-1])))
