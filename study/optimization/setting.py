"""How a problem is solved: an optimizer, and the retraction, metric and geometry under it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Final, cast, final

from ...manifolds import METRICS, QR, Cayley, Exponential, Geometry, Householder, Metric, Polar, Retraction, Riemannian
from ..arguments import require_known
from ..parameterizations import GEOMETRIES
from .contestants import contestant_names, is_deterministic

RETRACTIONS: Final[dict[str, Retraction]] = {
    "qr": QR(),
    "polar": Polar(),
    "cayley": Cayley(),
    "exponential": Exponential(),
}
EMBEDDED: Final = "embedded"


@final
@dataclass(frozen=True)
class Setting:
    """One choice for each factor, by name; the defaults are the centre around which one factor at a time is changed.

    Raises:
        ValueError: a name is unknown, or two of them do not go together.
    """

    optimizer: str = "riemannian-adam"
    retraction: str = "qr"
    metric: str = "euclidean"
    geometry: str = "stiefel"

    def __post_init__(self) -> None:
        require_known("optimizer", self.optimizer, contestant_names())
        require_known("retraction", self.retraction, RETRACTIONS)
        require_known("metric", self.metric, (*METRICS, EMBEDDED))
        require_known("geometry", self.geometry, GEOMETRIES)
        if self.metric == EMBEDDED and self.geometry != "grassmann":
            raise ValueError(f"metric 'embedded' wants the geometry 'grassmann', got {self.geometry!r}")
        if isinstance(GEOMETRIES[self.geometry], Householder):
            for name in ("retraction", "metric"):
                default = getattr(Setting, name)
                if getattr(self, name) != default:
                    raise ValueError(
                        f"{name} must be {default!r} with the geometry {self.geometry!r}, which has none, "
                        f"got {getattr(self, name)!r}"
                    )

    @property
    def is_deterministic(self) -> bool:
        """Whether the optimizer is a method of :func:`sttp.optim.minimize`, which needs no learning rate."""
        return is_deterministic(self.optimizer)

    @property
    def manifold_geometry(self) -> Geometry:
        """The geometry, with metric and retraction."""
        geometry = GEOMETRIES[self.geometry]
        if isinstance(geometry, Riemannian):
            return Riemannian(geometry.redundant, cast(Metric, self.metric), RETRACTIONS[self.retraction])
        return geometry

    def name(self, factor: str) -> str:
        """Return the choice for one factor."""
        return str(asdict(self)[factor])

    def __str__(self) -> str:
        centre = Setting()
        names = [f.name for f in fields(self) if getattr(self, f.name) != getattr(centre, f.name)]
        others = ", ".join(f"{name} {getattr(self, name)}" for name in names if name != "optimizer")
        return f"{self.optimizer}, {others}" if others else self.optimizer
