"""The parts that studies compare by name: optimizers, full-batch methods, retractions, metrics, geometries, spectra."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import geoopt
import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from ..layers import STTP, SVDP, Free, Identity, Lipschitz, Specification
from ..manifolds import (
    METRICS as METRIC_NAMES,
)
from ..manifolds import (
    QR,
    Cayley,
    Exponential,
    Geometry,
    Householder,
    Polar,
    Retraction,
    Riemannian,
    Spectrum,
)
from ..optim import (
    LBFGS,
    POGO,
    SPEL,
    CayleyAdam,
    CayleySGD,
    ConjugateGradient,
    HagerZhang,
    HestenesStiefel,
    Landing,
    ManifoldMuon,
    MomentumStiefelAdam,
    MomentumStiefelSGD,
    RandomSubmanifoldDescent,
    Retracted,
    RiemannianAdam,
    RiemannianSGD,
    SteepestDescent,
    TrustRegions,
)
from ..optim.deterministic import Method as FullBatchMethod
from .register import Register, callable_thing

# Returns an optimizer of parameters, manifold and plain ones together, at a learning rate; or is its class.
BuildOptimizer = Callable[[Iterable[Parameter], float], Optimizer]


def _of(kind: type) -> Callable[[object], None]:
    def check(thing: object) -> None:
        if not isinstance(thing, kind):
            raise TypeError(f"it must be an object of a subclass of {kind.__name__}, got {thing!r}")

    return check


OPTIMIZERS: Final[Register[BuildOptimizer]] = Register("optimizer", callable_thing)
for _name, _build in {
    "riemannian-adam": lambda parameters, rate: RiemannianAdam(parameters, lr=rate),
    "riemannian-sgd": lambda parameters, rate: RiemannianSGD(parameters, lr=rate, momentum=0.9),
    "gan-adam": lambda parameters, rate: RiemannianAdam(parameters, lr=rate, betas=(0.0, 0.9)),  # the paper's betas
    "geoopt-adam": lambda parameters, rate: geoopt.optim.RiemannianAdam(parameters, lr=rate),
    "geoopt-sgd": lambda parameters, rate: geoopt.optim.RiemannianSGD(parameters, lr=rate, momentum=0.9),
    "cayley-adam": lambda parameters, rate: CayleyAdam(parameters, lr=rate),
    "cayley-sgd": lambda parameters, rate: CayleySGD(parameters, lr=rate, momentum=0.9),
    "landing": lambda parameters, rate: Landing(parameters, lr=rate, momentum=0.9),
    "pogo": lambda parameters, rate: POGO(parameters, lr=rate),
    "random-submanifold": lambda parameters, rate: RandomSubmanifoldDescent(parameters, lr=rate),
    "momentum-stiefel-adam": lambda parameters, rate: MomentumStiefelAdam(parameters, lr=rate),
    "momentum-stiefel-sgd": lambda parameters, rate: MomentumStiefelSGD(parameters, lr=rate, momentum=0.9),
    "manifold-muon": lambda parameters, rate: ManifoldMuon(parameters, lr=rate),
    "spel": lambda parameters, rate: SPEL(parameters, lr=rate),
    "retracted-adamw": lambda parameters, rate: Retracted(torch.optim.AdamW, parameters, lr=rate),
}.items():
    OPTIMIZERS.add(_name, _build)

# Methods of ``minimize``, which need no learning rate.
METHODS: Final[Register[FullBatchMethod]] = Register("method of minimize", _of(FullBatchMethod))
METHODS.add("trust-regions", TrustRegions())
METHODS.add("lbfgs", LBFGS())
METHODS.add("conjugate-gradient-hs", ConjugateGradient(rule=HestenesStiefel()))
METHODS.add("conjugate-gradient-hz", ConjugateGradient(rule=HagerZhang()))
METHODS.add("steepest-descent", SteepestDescent())

RETRACTIONS: Final[Register[Retraction]] = Register("retraction", _of(Retraction))
for _kind in (QR, Polar, Cayley, Exponential):
    RETRACTIONS.add(_kind.__name__.lower(), _kind())

# Names of metrics; the embedded one belongs to whole weights.
EMBEDDED: Final = "embedded"
METRICS: Final[tuple[str, ...]] = (*METRIC_NAMES, EMBEDDED)

GEOMETRIES: Final[Register[Geometry]] = Register("geometry", _of(Geometry))
for _geometry in (
    Riemannian(redundant=True),
    Riemannian(redundant=False),
    Householder(redundant=True),
    Householder(redundant=False),
):
    GEOMETRIES.add(_geometry.name, _geometry)

SPECTRA: Final[Register[Spectrum]] = Register("spectrum", _of(Spectrum))
SPECTRA.add("identity", Identity())
SPECTRA.add("lipschitz", Lipschitz())
SPECTRA.add("learned", Lipschitz())  # the paper's word for it
SPECTRA.add("regularized", Lipschitz())  # with the D-optimal penalty
SPECTRA.add("free", Free())
# The weight of the D-optimal penalty in the loss, of the spectra that have one.
PENALTIES: Final[dict[str, float]] = {"regularized": 1.0}
# The paper's letters.
FLAVOURS: Final[dict[str, str]] = {"C": "identity", "L": "lipschitz", "R": "regularized"}

# Called with a rank, and ``frames`` and ``spectrum`` by keyword.
SPECIFICATIONS: Final[Register[Callable[..., Specification]]] = Register("specification", callable_thing)
SPECIFICATIONS.add("svdp", SVDP, title="SVDP")
SPECIFICATIONS.add("sttp", STTP, title="STTP")


def build_optimizer(name: str, parameters: Any, learning_rate: float) -> Optimizer:
    """Return the optimizer of a name: of a class the object with ``lr=learning_rate``, else what the function returns.

    Raises:
        ValueError: the name is unknown, or the optimizer refuses the learning rate.
        TypeError: what is returned is no optimizer.
    """
    build: Any = OPTIMIZERS[name]
    if isinstance(build, type) and issubclass(build, Optimizer):
        return build(parameters, lr=learning_rate)
    optimizer = build(parameters, learning_rate)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer {name!r} must return a torch.optim.Optimizer, got {optimizer!r}")
    return optimizer


def specification(parameterization: str, rank: int, spectrum: str, geometry: str = "stiefel") -> Specification:
    """Return the specification that the names stand for.

    Raises:
        ValueError: a name is unknown, or the rank is below 1.
        TypeError: the rank is no integer.
    """
    kind = SPECIFICATIONS[parameterization]
    return kind(rank, frames=GEOMETRIES[geometry], spectrum=SPECTRA[spectrum])
