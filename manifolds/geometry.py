"""The four geometries of a train: what each of its frames is stored as, and on which manifold that lives."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import geoopt
from torch import Tensor

from .grassmann import Grassmann
from .householder import (
    frames_of_reflectors,
    free_entries,
    householder_entries,
    reflectors_of_free_entries,
)
from .retractions import QR, Retraction
from .stiefel import Metric, Stiefel

if TYPE_CHECKING:
    from .train_shape import FrameShape


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
class HouseholderChart(Chart):
    """Free reflector entries in Euclidean space: dp − p(p+1)/2 of them, or p(d − p) where the chart is reduced."""

    def __init__(self, rows: int, columns: int, reduced: bool) -> None:
        self.rows, self.columns, self.reduced = rows, columns, reduced
        self.manifold = geoopt.Euclidean(ndim=2 if reduced else 1)
        size = rows * columns - columns * (columns + 1) // 2
        self.shape = (rows - columns, columns) if reduced else (size,)
        self.keeps_signs = not reduced

    def frame(self, coordinates: Tensor, signs: Tensor | None) -> Tensor:
        """Return the product of reflections, times the signs if there are any."""
        frame = frames_of_reflectors(reflectors_of_free_entries(coordinates, self.rows, self.columns, self.reduced))
        return frame if signs is None else frame * signs.unsqueeze(-2)

    def coordinates(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Return the free reflector entries and signs; a reduced chart wants an upper triangular top."""
        entries, signs = householder_entries(frame)
        return free_entries(entries, self.reduced), signs


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
class Riemannian(Geometry):
    """Frames as points: on Stiefel, and where the basis is gauge and the geometry is not redundant, on Grassmann.

    Attributes:
        redundant: keep every frame on Stiefel (`stiefel`), or fix the gauge (`grassmann`).
        metric: the metric of the Stiefel frames, ``"euclidean"`` or ``"canonical"``.
        retraction: ``QR()``, ``Polar()``, ``Cayley()`` or ``Exponential()``.
    """

    redundant: bool = True
    metric: Metric = "euclidean"
    retraction: Retraction = field(default_factory=QR)

    def __post_init__(self) -> None:
        Stiefel(self.metric, self.retraction)  # refuses a wrong metric or retraction where it is given

    @property
    def name(self) -> str:
        """`stiefel` or `grassmann`."""
        return "stiefel" if self.redundant else "grassmann"

    def chart(self, frame: FrameShape, gauge_fixed: bool) -> Chart:
        """Return the identity chart on Stiefel or Grassmann."""
        manifold = Grassmann(self.retraction) if gauge_fixed else Stiefel(self.metric, self.retraction)
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

    @property
    def name(self) -> str:
        """`householder` or `householder-reduced`."""
        return "householder" if self.redundant else "householder-reduced"

    def chart(self, frame: FrameShape, gauge_fixed: bool) -> Chart:
        """Return the full or the reduced Householder chart."""
        return HouseholderChart(frame.rows, frame.columns, reduced=gauge_fixed)
