"""The rows of `sttp check`: every manifold of this package, geoopt's Stiefel beside them, and what a user names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import geoopt
import torch

from ..manifolds import (
    METRICS,
    QR,
    Cayley,
    Exponential,
    FrameManifold,
    Geometry,
    Grassmann,
    Householder,
    Polar,
    Retraction,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainShape,
    Transport,
    checks,
)
from ..manifolds.checks import CheckResult
from .arguments import import_object

# Tall, p > 1 and n > 2p: all parts of a tangent vector are there, and nothing takes long.
SHAPE: Final = (9, 4)
TRAIN: Final = TrainShape((2, 2), (3,), 2)


@final
@dataclass(frozen=True)
class Entry:
    """A manifold of the table, and what it claims.

    Attributes:
        name: its name at the command line.
        manifold: the manifold.
        second_order: whether its retraction claims to be of second order; None claims nothing.
        isometric: whether its transport claims to keep inner products.
        uniform: whether its random points claim to prefer no direction.
        is_ours: whether it is of this package.
        is_own: whether the user brought it. What is neither stands beside for comparison, and its failures decide
            nothing.
        shape: of its points; None for the usual one.
    """

    name: str
    manifold: geoopt.Manifold | SpectralTensorTrain
    second_order: bool | None = None
    isometric: bool = False
    uniform: bool = False
    is_ours: bool = True
    is_own: bool = False
    shape: tuple[int, ...] | None = SHAPE

    def check(self, dtype: torch.dtype, device: str) -> tuple[CheckResult, CheckResult]:
        """Return what the checks of the axioms and of the retraction find.

        Raises:
            ValueError: a manifold that the user brought has no random point of its shape.
        """
        shape = None if isinstance(self.manifold, SpectralTensorTrain) else self.shape
        try:
            axioms = checks.check_manifold(
                self.manifold, shape, isometric=self.isometric, uniform=self.uniform, dtype=dtype, device=device
            )
            retraction = checks.check_retraction(
                self.manifold, shape, second_order=self.second_order, dtype=dtype, device=device
            )
        except Exception as error:  # what happens after a random point is found is a finding
            if not self.is_own:
                raise
            given = "the usual shape" if shape is None else f"shape {'x'.join(map(str, shape))}"
            raise ValueError(
                f"NAME {self.name!r} has no random point of {given} ({type(error).__name__}: {error}); give another "
                f"one by --shape, such as 5x5"
            ) from error
        return axioms, retraction


def entries() -> tuple[Entry, ...]:
    """Return all rows of the table."""
    second_order: dict[str, tuple[type[Retraction], ...]] = {
        "euclidean": (Polar, Exponential),
        "canonical": (Cayley, Exponential),
    }
    rows: list[Entry] = []
    for retraction in _retractions():
        ending = type(retraction).__name__.lower()
        if retraction.transport is not Transport.PROJECTION:
            ending += f"-{retraction.transport}"
        isometric, uniform = retraction.transport is Transport.ISOMETRIC, retraction == QR()
        for metric in METRICS:
            is_second, manifold = isinstance(retraction, second_order[metric]), Stiefel(metric, retraction)
            rows.append(Entry(f"stiefel-{metric}-{ending}", manifold, is_second, isometric, uniform))
        rows.append(Entry(f"grassmann-{ending}", Grassmann(retraction), True, isometric, uniform))
    geometries = (Riemannian(), Riemannian(redundant=False), Householder(redundant=True), Householder())
    rows.extend(Entry(f"train-{geometry.name}", SpectralTensorTrain(TRAIN, geometry)) for geometry in geometries)
    rows.sort(key=lambda row: row.name)
    return (
        *rows,
        Entry("geoopt-stiefel", geoopt.Stiefel(), is_ours=False),
        Entry("geoopt-euclidean-stiefel", geoopt.EuclideanStiefel(), is_ours=False),
        Entry("geoopt-euclidean-stiefel-exact", geoopt.EuclideanStiefelExact(), True, is_ours=False),
    )


def own_entries(name: str, shape: tuple[int, ...] | None = None) -> list[Entry]:
    """Return the rows of what a user names: a manifold, or a retraction or geometry, which makes manifolds.

    Args:
        name: ``package.module:object``, of an object, a class whose constructor needs no arguments, or a function that
            returns an object.
        shape: of points; None for the usual one.

    Raises:
        ValueError: it cannot be imported or called, whose own error is shown, or is something else.
    """
    parts = (geoopt.Manifold, SpectralTensorTrain, Retraction, Geometry)
    found = import_object("NAME", name)
    if not isinstance(found, parts) and callable(found):
        try:
            found = found()
        except Exception as error:
            raise ValueError(
                f"NAME {name!r} cannot be called without arguments ({type(error).__name__}: {error}); name an object, "
                f"or a function that returns one"
            ) from error
    if isinstance(found, Retraction):
        isometric = found.transport is Transport.ISOMETRIC
        made = {f"stiefel-{metric}": Stiefel(metric, found) for metric in METRICS} | {"grassmann": Grassmann(found)}
        return [
            Entry(f"{name} {kind}", manifold, None, isometric, is_ours=False, is_own=True, shape=shape or SHAPE)
            for kind, manifold in made.items()
        ]
    if isinstance(found, Geometry):
        found = SpectralTensorTrain(TRAIN, found)
    if not isinstance(found, parts):
        raise ValueError(
            f"NAME {name!r} must be a geoopt.Manifold, a Retraction or a Geometry, or what makes one, got {found!r}"
        )
    if shape is None and isinstance(found, FrameManifold | geoopt.Stiefel):
        shape = SHAPE
    return [Entry(name, found, is_ours=False, is_own=True, shape=shape)]


def _retractions() -> list[Retraction]:
    """Return every retraction with every transport that it has."""
    kinds = (QR, Polar, Cayley, Exponential)
    every = (Transport.PROJECTION, Transport.DIFFERENTIAL)
    plain: list[Retraction] = [kind(transport=transport) for kind in kinds for transport in every]
    return [*plain, *(kind(transport=Transport.ISOMETRIC) for kind in (Cayley, Exponential))]
