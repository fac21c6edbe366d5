"""The four geometries of a train: what each of its frames is stored as, and on which manifold that lives."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Literal, final

import geoopt
import torch
from torch import Tensor

from ._grassmann import Grassmann
from ._householder import entries_of_free, free_entries, householder_entries, householder_frames
from ._matrices import identity_like
from ._require import (
    described,
    require_flag,
    require_frames,
    require_instance,
    require_integer,
    require_number,
    require_tensor,
)
from ._retractions import QR, Retraction
from ._stiefel import METRICS, Metric, Stiefel
from ._train_shape import FrameShape


class Chart(abc.ABC):
    """How one frame of a train is stored: coordinates on a manifold, and fixed signs where the coordinates need them.

    Attributes:
        manifold: the manifold that the coordinates lie on.
        shape: the shape of the coordinates.
        columns: number p of the frame's columns.
        keeps_signs: whether a point must keep signs ``(..., p)`` beside the coordinates.
    """

    manifold: geoopt.Manifold
    shape: tuple[int, ...]
    columns: int
    keeps_signs: bool = False

    @abc.abstractmethod
    def frame(self, coordinates: Tensor, signs: Tensor | None) -> Tensor:
        """Return the frame ``(..., d, p)`` at the coordinates."""

    @abc.abstractmethod
    def coordinates(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates and signs ``(..., p)`` of a frame: ``frame(coordinates, None) * signs`` is the frame."""


@final
class IdentityChart(Chart):
    """The frame itself, a point on the Stiefel or Grassmann manifold."""

    def __init__(self, rows: int, columns: int, manifold: geoopt.Manifold) -> None:
        self.manifold = manifold
        self.shape = (rows, columns)
        self.columns = columns

    def frame(self, coordinates: Tensor, signs: Tensor | None) -> Tensor:
        """Return the coordinates."""
        return coordinates

    def coordinates(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frame and signs +1."""
        return frame, frame.new_ones(*frame.shape[:-2], frame.shape[-1])


@final
class ReflectorSpace(geoopt.Euclidean):
    """Euclidean space that may have no dimension: geoopt's own would expand a vector without entries to one entry."""

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the vector."""
        return u

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the gradient."""
        return u

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the vector."""
        return v


@final
class HouseholderChart(Chart):
    """Free reflector entries in Euclidean space: dp − p(p+1)/2 of them, or p(d − p) where the chart is reduced.

    Raises:
        TypeError: a size is no integer, or ``reduced`` neither True nor False.
        ValueError: there are not at least as many rows as columns.
    """

    def __init__(self, rows: int, columns: int, reduced: bool) -> None:
        require_integer("columns", columns, least=0)
        require_integer("rows", rows, least=columns)
        require_flag("reduced", reduced)
        self.rows, self.columns, self.reduced = rows, columns, reduced
        self.manifold = ReflectorSpace(ndim=2 if reduced else 1)
        size = rows * columns - columns * (columns + 1) // 2
        self.shape = (rows - columns, columns) if reduced else (size,)
        self.keeps_signs = not reduced

    def frame(self, coordinates: Tensor, signs: Tensor | None) -> Tensor:
        """Return the product of reflections, times the signs if there are any."""
        require_coordinates("coordinates", coordinates, self.shape)
        if signs is not None:
            require_coordinates("signs", signs, (self.columns,))
            batch = coordinates.shape[: coordinates.dim() - len(self.shape)]
            if signs.shape[:-1] != batch or signs.device != coordinates.device:
                raise ValueError(
                    f"signs must have the leading dimensions {tuple(batch)} and be on {coordinates.device}, got "
                    f"{described(signs)} on {signs.device}"
                )
        frame = householder_frames(entries_of_free(coordinates, self.rows, self.columns, self.reduced))
        return frame if signs is None else frame * signs.unsqueeze(-2)

    def coordinates(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return the free reflector entries and signs; a reduced chart wants an upper triangular top, diagonal ≤ 0.

        With that top R the entries below it are −X_below (I − R)⁻¹, since Y_top = I makes I − X = Y S⁻¹ and so
        S⁻¹ = I − R. This also holds where R has zeros on its diagonal and a reflection could have either sign.
        """
        require_frames("frame", frame)
        require_coordinates("frame", frame, (self.rows, self.columns))
        if self.reduced:
            top, below = frame.split((self.columns, self.rows - self.columns), dim=-2)
            inverse = identity_like(frame, self.columns, self.columns) - top
            below = -torch.linalg.solve_triangular(inverse, below, upper=True, left=False)
            return below, frame.new_ones(*frame.shape[:-2], self.columns)
        entries, signs = householder_entries(frame)
        return free_entries(entries), signs


def require_coordinates(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse what is no tensor of some last dimensions.

    Raises:
        TypeError: it is none, or not of float32 or float64.
        ValueError: it has others.
    """
    require_tensor(name, value)
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {described(value)}; cast it")
    if value.dim() < len(shape) or value.shape[value.dim() - len(shape) :] != tuple(shape):
        raise ValueError(f"{name} must have shape (..., {', '.join(map(str, shape))}), got {tuple(value.shape)}")


def _require_place(frame: object, gauge_fixed: object) -> None:
    require_instance("frame", frame, FrameShape, "a FrameShape")
    require_flag("gauge_fixed", gauge_fixed)


class Geometry(abc.ABC):
    """A choice of charts for the frames of a train: `stiefel`, `grassmann`, `householder` or `householder-reduced`.

    Attributes:
        redundant: whether every frame keeps its full freedom. Otherwise the gauge freedom at the inner bonds is gone,
            and the parameters are as many as the weight has degrees of freedom.
    """

    redundant: bool

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The geometry's name where a name is needed."""

    @abc.abstractmethod
    def chart(self, frame: FrameShape, gauge_fixed: bool) -> Chart:
        """Return the chart of one frame, whose own basis has no freedom if ``gauge_fixed``."""


@final
@dataclass(frozen=True)
class Embedded:
    """The metric that the space of matrices induces on a gauge-fixed train; it belongs to all its parameters together.

    Attributes:
        damping: added to the metric, which is degenerate where singular values agree: this times max s² times the
            Euclidean metric of the frames. 0 takes the pseudo-inverse.

    Raises:
        TypeError: the damping is no number.
        ValueError: it is negative or not finite.
    """

    damping: float = 1e-3

    def __post_init__(self) -> None:
        require_number("damping", self.damping, least=0)


@final
@dataclass(frozen=True)
class Riemannian(Geometry):
    """Frames as points: on Stiefel, and where the basis is gauge and the geometry is not redundant, on Grassmann.

    Attributes:
        redundant: keep every frame on Stiefel (`stiefel`), or fix the gauge (`grassmann`).
        metric: the metric of the Stiefel frames, ``"euclidean"`` or ``"canonical"``; or :class:`Embedded`, of which
            ``"embedded"`` is a short form.
        retraction: ``QR()``, ``Polar()``, ``Cayley()`` or ``Exponential()``.

    Raises:
        ValueError: the metric is none of these, or embedded and the geometry redundant.
        TypeError: ``redundant`` is neither True nor False, or the retraction is no retraction.
    """

    redundant: bool = True
    metric: Metric | Embedded | Literal["embedded"] = "euclidean"
    retraction: Retraction = field(default_factory=QR)

    def __post_init__(self) -> None:
        require_flag("redundant", self.redundant)
        if isinstance(self.metric, str) and self.metric == "embedded":
            object.__setattr__(self, "metric", Embedded())
        if isinstance(self.metric, Embedded) and self.redundant:
            raise ValueError("metric='embedded' wants a fixed gauge: pass redundant=False")
        self._stiefel()  # refuses a wrong metric or retraction where it is given

    @property
    def embedded(self) -> Embedded | None:
        """The embedded metric; None where the metric is another one."""
        return self.metric if isinstance(self.metric, Embedded) else None

    def _stiefel(self) -> Stiefel:
        """Return the manifold of a frame; under the embedded metric it serves for projections alone."""
        if isinstance(self.metric, Embedded):
            return Stiefel("euclidean", self.retraction)
        if not isinstance(self.metric, str) or self.metric not in METRICS:
            choices, given = ", ".join(map(repr, METRICS)), described(self.metric)
            raise ValueError(f"metric must be one of {choices}, 'embedded' or Embedded(...), got {given}")
        return Stiefel(self.metric, self.retraction)

    @property
    def name(self) -> str:
        """`stiefel` or `grassmann`."""
        return "stiefel" if self.redundant else "grassmann"

    def chart(self, frame: FrameShape, gauge_fixed: bool) -> Chart:
        """Return the identity chart on Stiefel or Grassmann."""
        _require_place(frame, gauge_fixed)
        manifold = Grassmann(self.retraction) if gauge_fixed else self._stiefel()
        return IdentityChart(frame.rows, frame.columns, manifold)


@final
@dataclass(frozen=True)
class Householder(Geometry):
    """Frames as products of reflections with free Euclidean entries (Obukhov et al. 2021, Sec. 3.1, 3.2).

    Attributes:
        redundant: full reflectors for every frame (`householder`), or reduced ones for those whose basis is gauge
            (`householder-reduced`), which is the paper's non-redundant parameterization.
    """

    redundant: bool = False

    def __post_init__(self) -> None:
        require_flag("redundant", self.redundant)

    @property
    def name(self) -> str:
        """`householder` or `householder-reduced`."""
        return "householder" if self.redundant else "householder-reduced"

    def chart(self, frame: FrameShape, gauge_fixed: bool) -> Chart:
        """Return the full or the reduced Householder chart."""
        _require_place(frame, gauge_fixed)
        return HouseholderChart(frame.rows, frame.columns, reduced=gauge_fixed)
