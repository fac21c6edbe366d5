"""What `sttp check` is asked for: manifolds of this package, geoopt's Stiefel beside them, and what a user names."""

from __future__ import annotations

import enum
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import geoopt
import torch

from ...manifolds import (
    METRICS,
    FrameManifold,
    Geometry,
    Grassmann,
    Retraction,
    SpectralTensorTrain,
    Stiefel,
    Transport,
    checks,
)
from ...manifolds.checks import CheckedManifold, CheckResult
from .._plain import import_object

PARTS = (geoopt.Manifold, SpectralTensorTrain, Retraction, Geometry)


@final
class Origin(enum.Enum):
    """Whose a manifold is. Failures of what stands there for comparison decide nothing."""

    OURS = enum.auto()
    YOURS = enum.auto()
    BESIDE = enum.auto()


@final
@dataclass(frozen=True)
class Row:
    """A manifold of the table, and whose it is."""

    manifold: CheckedManifold
    origin: Origin = Origin.OURS

    @property
    def name(self) -> str:
        """Its name at the command line."""
        return self.manifold.name

    def check(self, dtype: torch.dtype, device: str) -> tuple[CheckResult, CheckResult]:
        """Return what the checks of the axioms and of the retraction find."""
        try:
            return self.manifold.check(dtype, device)
        except Exception as error:  # what happens after a random point is found is a finding
            if self.origin is not Origin.YOURS:
                raise
            shape = self.manifold.shape
            given = "the usual shape" if shape is None else f"shape {'x'.join(map(str, shape))}"
            raise ValueError(
                f"NAME {self.name!r} has no random point of {given} ({type(error).__name__}: {error}); give another "
                f"one by --shape, such as 5x5"
            ) from error


def known_rows() -> tuple[Row, ...]:
    """Return the rows that are there without any of the user's."""
    beside = (
        CheckedManifold("geoopt-stiefel", geoopt.Stiefel()),
        CheckedManifold("geoopt-euclidean-stiefel", geoopt.EuclideanStiefel()),
        CheckedManifold("geoopt-euclidean-stiefel-exact", geoopt.EuclideanStiefelExact(), True),
    )
    return (*map(Row, checks.known_manifolds()), *(Row(manifold, Origin.BESIDE) for manifold in beside))


def requested_rows(names: Iterable[str], shape: tuple[int, ...] | None = None) -> list[Row]:
    """Return the rows of names, patterns and ``package.module:object``; all known ones where there are no names."""
    names = tuple(names)
    own = [name for name in names if ":" in name]
    patterns = [name for name in names if ":" not in name]
    if shape is not None and not own:
        given = "x".join(map(str, shape))
        raise ValueError(
            f"--shape is for manifolds of your own, got {given!r} and no package.module:Class; leave it out"
        )
    rows = known_rows() if patterns or not own else ()
    for pattern in patterns:
        if not fnmatch.filter([row.name for row in rows], pattern):
            choices = ", ".join(row.name for row in rows)
            raise ValueError(f"NAME must be a manifold or a pattern, got {pattern!r}; there are {choices}")
    chosen = [row for row in rows if not patterns or any(fnmatch.fnmatchcase(row.name, name) for name in patterns)]
    return chosen + [row for name in own for row in own_rows(name, shape)]


def own_rows(name: str, shape: tuple[int, ...] | None = None) -> list[Row]:
    """Return the rows of what a user names: a manifold, or a retraction or geometry, or what makes one if called."""
    found = import_object("NAME", name)
    if not isinstance(found, PARTS) and callable(found):
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
            Row(CheckedManifold(f"{name} {kind}", manifold, None, isometric, shape=shape or checks.SHAPE), Origin.YOURS)
            for kind, manifold in made.items()
        ]
    if isinstance(found, Geometry):
        found = SpectralTensorTrain(checks.TRAIN, found)
    if not isinstance(found, PARTS):
        raise ValueError(
            f"NAME {name!r} must be a geoopt.Manifold, a Retraction or a Geometry, or what makes one, got {found!r}"
        )
    if shape is None and isinstance(found, FrameManifold | geoopt.Stiefel):
        shape = checks.SHAPE
    return [Row(CheckedManifold(name, found, shape=shape), Origin.YOURS)]
