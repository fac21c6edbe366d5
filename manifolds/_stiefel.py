"""The Stiefel manifold of orthonormal frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, final

from torch import Tensor

from ._frame_manifold import FrameManifold
from ._geodesics import Generators
from ._logarithms import UNREACHABLE, Unreachable, stiefel_logarithm
from ._matrices import subtract_product
from ._require import naming_points, require_choice, require_fitting, require_flag, require_frame_shape
from ._retraction import Retraction

if TYPE_CHECKING:
    from collections.abc import Sequence

Metric = Literal["euclidean", "canonical"]
METRICS: Final[tuple[Metric, ...]] = ("euclidean", "canonical")


@final
class Stiefel(FrameManifold):
    """St(n, p) = {X ∈ R^{n×p} : XᵀX = I}, of dimension np − p(p+1)/2, with any leading batch dimensions.

    Tangent vectors at X are the Ξ with XᵀΞ + ΞᵀX = 0, stored as matrices of X's shape. Of the two metrics the
    Euclidean is ⟨Ξ, H⟩ = tr(ΞᵀH), and the canonical ⟨Ξ, H⟩ = tr(Ξᵀ(I − ½XXᵀ)H) (Edelman, Arias, Smith 1998, Eq. 2.39).

    ``geoopt.Stiefel()`` is canonical, this one Euclidean unless told. geoopt's line search takes the transported step
    for the derivative of the curve, which it is with ``Transport.DIFFERENTIAL``: see :class:`~sttp.manifolds.Cayley`.

    Args:
        metric: ``"euclidean"`` or ``"canonical"``.
        retraction: how :meth:`retr` moves: ``QR()`` (the default), ``Polar()``, ``Cayley()`` or ``Exponential()``.

    Raises:
        ValueError: the metric is none of the two.
        TypeError: the retraction is no :class:`~sttp.manifolds.Retraction`.
    """

    def __init__(self, metric: Metric = "euclidean", retraction: Retraction | None = None) -> None:
        super().__init__(retraction)
        require_choice("metric", metric, METRICS)
        self.metric = metric
        self.name = f"Stiefel({metric})"

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.metric)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the orthogonal projection U − X sym(XᵀU) of ``u`` to the tangent space at ``x``.

        It is orthogonal in the Frobenius inner product of the matrices, whichever the metric.
        """
        require_fitting(x, u=u)
        inside = x.mT @ u
        return subtract_product(u, x, inside + inside.mT, 0.5)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Riemannian gradient of G = ``u``: G − X sym(XᵀG), or G − X GᵀX (canonical)."""
        if self.metric == "euclidean":
            return self.proju(x, u)
        require_fitting(x, u=u)
        return subtract_product(u, x, u.mT @ x)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ⟨u, v⟩ at ``x``, of shape ``(...)``, or ``(..., 1, 1)`` with ``keepdim``; v = u by default."""
        v = u if v is None else v
        require_fitting(x, u=u, v=v)
        require_flag("keepdim", keepdim)
        product = (u * v).sum(dim=(-2, -1), keepdim=keepdim)
        if self.metric == "euclidean":
            return product
        return product - ((x.mT @ u) * (x.mT @ v)).sum(dim=(-2, -1), keepdim=keepdim) / 2

    def geodesic_generators(self, x: Tensor, u: Tensor) -> Generators:
        """Return (A, nothing) with A = XᵀΞ for the canonical metric, (2A, A) for the Euclidean one.

        Edelman, Arias, Smith 1998, Eq. 2.42, and for the Euclidean metric the geodesics of their Sec. 2.2.2,
        sorted into skew exponents.
        """
        require_fitting(x, u=u)
        corner = x.mT @ u
        corner = (corner - corner.mT) / 2
        return (corner, None) if self.metric == "canonical" else (2 * corner, corner)

    @naming_points
    def logmap(self, x: Tensor, y: Tensor, *, unreachable: Unreachable = "raise") -> Tensor:
        """Return the logarithm of the canonical metric, found by iteration.

        Shorter than 2.8 it is the shortest one. Farther apart, for 2 of 10,200 pairs of random frames of six shapes a
        shorter geodesic than the one found was known, and for about 1 of 1,000 pairs none is found.

        Args:
            x: frames ``(..., n, p)``.
            y: frames of the same shape.
            unreachable: what happens where none is found: ``"raise"``, or ``"nan"`` for NaN in its place.

        Raises:
            NotImplementedError: the metric is Euclidean.
            ValueError: points are too far apart, or no frames, and ``unreachable`` is ``"raise"``.
        """
        self._require_canonical("logmap")
        require_fitting(x, y=y)
        require_choice("unreachable", unreachable, UNREACHABLE)
        return stiefel_logarithm(x, y, unreachable)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False, unreachable: Unreachable = "raise") -> Tensor:
        """Return the distance in the canonical metric, of shape ``(...)``, or ``(..., 1, 1)`` with ``keepdim``.

        It is the length of :meth:`logmap`, and slightly too long for the few far pairs whose geodesic is not the
        shortest: see there.

        Args:
            x: frames ``(..., n, p)``.
            y: frames of the same shape.
            keepdim: keep the last two dimensions.
            unreachable: as in :meth:`logmap`.

        Raises:
            NotImplementedError: the metric is Euclidean.
            ValueError: points are too far apart, or no frames, and ``unreachable`` is ``"raise"``.
        """
        self._require_canonical("dist")
        require_flag("keepdim", keepdim)
        return self.norm(x, self.logmap(x, y, unreachable=unreachable), keepdim=keepdim)

    def dimension(self, size: Sequence[int]) -> int:
        """Return np − p(p+1)/2 for ``size`` = (..., n, p)."""
        n, p = require_frame_shape("size", size)
        return n * p - p * (p + 1) // 2

    def _require_canonical(self, method: str) -> None:
        if self.metric != "canonical":
            raise NotImplementedError(
                f"Stiefel.{method} is known for metric='canonical' alone, got {self.metric!r}; use that metric, or "
                f"inverse_retr of a Polar() retraction"
            )
