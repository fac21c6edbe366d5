"""The manifolds of this package, each with what it claims: the one list of ``sttp check`` and of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import geoopt
import torch

from .._geometry import Householder, Riemannian
from .._grassmann import Grassmann
from .._retractions import QR, Cayley, Exponential, Polar, Retraction, Transport
from .._spectral_tensor_train import SpectralTensorTrain
from .._stiefel import METRICS, Stiefel
from .._train_shape import TrainShape
from ._axioms import check_manifold
from ._results import CheckResult
from ._retraction import check_retraction

# Tall, p > 1 and n > 2p: all parts of a tangent vector are there, and nothing takes long.
SHAPE: Final = (9, 4)
TRAIN: Final = TrainShape((2, 2), (3,), 2)

# Which retractions are of second order for which metric of Stiefel: a theorem each (Absil and Malick 2012).
SECOND_ORDER: Final[dict[str, tuple[type[Retraction], ...]]] = {
    "euclidean": (Polar, Exponential),
    "canonical": (Cayley, Exponential),
}


@final
@dataclass(frozen=True)
class CheckedManifold:
    """A manifold, and what it claims.

    Attributes:
        name: such as ``stiefel-euclidean-qr``.
        manifold: the manifold.
        second_order: whether its retraction claims to be of second order; None claims nothing.
        isometric: whether its transport claims to keep inner products.
        uniform: whether its random points claim to prefer no direction.
        shape: of its points; None for the usual one, and for a train, which knows its own.
    """

    name: str
    manifold: geoopt.Manifold | SpectralTensorTrain
    second_order: bool | None = None
    isometric: bool = False
    uniform: bool = False
    shape: tuple[int, ...] | None = SHAPE

    def check(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> tuple[CheckResult, CheckResult]:
        """Return what the checks of the axioms and of the retraction find."""
        manifold = self.manifold
        shape = None if isinstance(manifold, SpectralTensorTrain) else self.shape
        return (
            check_manifold(manifold, shape, isometric=self.isometric, uniform=self.uniform, dtype=dtype, device=device),
            check_retraction(manifold, shape, second_order=self.second_order, dtype=dtype, device=device),
        )


def known_manifolds() -> tuple[CheckedManifold, ...]:
    """Return every manifold of this package with every metric, retraction and transport, sorted by name."""
    found: list[CheckedManifold] = []
    for retraction in _retractions():
        ending = type(retraction).__name__.lower()
        if retraction.transport is not Transport.PROJECTION:
            ending += f"-{retraction.transport}"
        isometric, uniform = retraction.transport is Transport.ISOMETRIC, retraction == QR()
        for metric in METRICS:
            second_order, manifold = isinstance(retraction, SECOND_ORDER[metric]), Stiefel(metric, retraction)
            found.append(CheckedManifold(f"stiefel-{metric}-{ending}", manifold, second_order, isometric, uniform))
        found.append(CheckedManifold(f"grassmann-{ending}", Grassmann(retraction), True, isometric, uniform))
    geometries = (Riemannian(), Riemannian(redundant=False), Householder(redundant=True), Householder())
    found.extend(
        CheckedManifold(f"train-{geometry.name}", SpectralTensorTrain(TRAIN, geometry)) for geometry in geometries
    )
    return tuple(sorted(found, key=lambda row: row.name))


def _retractions() -> list[Retraction]:
    """Return every retraction with every transport that it has."""
    return [
        kind(transport=transport)
        for kind in (QR, Polar, Cayley, Exponential)
        for transport in Transport
        if transport is not Transport.ISOMETRIC or kind.is_rotation
    ]
