"""The parts that studies compare by name: optimizers, full-batch methods, retractions, metrics, geometries, spectra."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Final, final

import geoopt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..layers import STTP, SVDP, Free, Identity, Lipschitz, Specification
from ..manifolds import (
    METRICS as METRIC_NAMES,
)
from ..manifolds import (
    QR,
    Cayley,
    Embedded,
    Exponential,
    Geometry,
    Householder,
    Polar,
    Retraction,
    Riemannian,
    Spectrum,
    from_description,
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
from ._plain import Plain
from .register import Register, callable_thing

# Returns an optimizer of parameters, manifold and plain ones together, at a learning rate and with options by keyword;
# or is its class.
BuildOptimizer = Callable[..., Optimizer]
# Options of parts by keyword, such as ``("optimizer.momentum", 0.5)``.
Options = tuple[tuple[str, Plain], ...]
# A learning rate that all optimizers take.
ANY_RATE: Final = 1e-3


def _of(kind: type) -> Callable[[object], None]:
    def check(thing: object) -> None:
        if not isinstance(thing, kind) and not (isinstance(thing, type) and issubclass(thing, kind)):
            raise TypeError(f"it must be a subclass of {kind.__name__} or an object of one, got {thing!r}")

    return check


@final
@dataclass(frozen=True)
class OfNetwork:
    """An optimizer that is made of a network, where parameters alone do not tell enough.

    Attributes:
        build: called as ``build(network, rate)``.
    """

    build: Callable[[nn.Module, float], Optimizer]

    def __call__(self, network: nn.Module, learning_rate: float) -> Optimizer:
        """Return the optimizer."""
        return self.build(network, learning_rate)


OPTIMIZERS: Final[Register[BuildOptimizer]] = Register("optimizer", callable_thing)


def _with(
    kind: Callable[..., Optimizer], defaults: Mapping[str, Any], parameters: Any, lr: float, **options: Any
) -> Optimizer:
    return kind(parameters, lr=lr, **{**defaults, **options})


for _name, _kind, _defaults in (
    ("riemannian-adam", RiemannianAdam, {}),
    ("riemannian-sgd", RiemannianSGD, {"momentum": 0.9}),
    ("gan-adam", RiemannianAdam, {"betas": (0.0, 0.9)}),  # the paper's betas
    ("geoopt-adam", geoopt.optim.RiemannianAdam, {}),
    ("geoopt-sgd", geoopt.optim.RiemannianSGD, {"momentum": 0.9}),
    ("cayley-adam", CayleyAdam, {}),
    ("cayley-sgd", CayleySGD, {"momentum": 0.9}),
    ("landing", Landing, {"momentum": 0.9}),
    ("pogo", POGO, {}),
    ("random-submanifold", RandomSubmanifoldDescent, {}),
    ("momentum-stiefel-adam", MomentumStiefelAdam, {}),
    ("momentum-stiefel-sgd", MomentumStiefelSGD, {"momentum": 0.9}),
    ("manifold-muon", ManifoldMuon, {}),
    ("spel", SPEL, {}),
    ("retracted-adamw", partial(Retracted, torch.optim.AdamW), {}),
):
    OPTIMIZERS.add(_name, partial(_with, _kind, _defaults))

# Methods of ``minimize``, which need no learning rate.
MINIMIZERS: Final[Register[FullBatchMethod]] = Register("method of minimize", _of(FullBatchMethod))
MINIMIZERS.add("trust-regions", TrustRegions())
MINIMIZERS.add("lbfgs", LBFGS())
MINIMIZERS.add("conjugate-gradient-hs", ConjugateGradient(rule=HestenesStiefel()))
MINIMIZERS.add("conjugate-gradient-hz", ConjugateGradient(rule=HagerZhang()))
MINIMIZERS.add("steepest-descent", SteepestDescent())

RETRACTIONS: Final[Register[Retraction]] = Register("retraction", _of(Retraction))
for _retraction in (QR(), Polar(), Cayley(), Exponential()):
    RETRACTIONS.add(type(_retraction).__name__.lower(), _retraction)

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


def name_of_part(register: Register[Any], thing: object) -> str:
    """Return the name by which a register knows a thing; see :meth:`~sttp.study.register.Register.name_for`.

    The name of a class that ``register_retraction`` or ``register_geometry`` of ``sttp.manifolds`` knows will do.

    Raises:
        TypeError: the thing is of another kind.
        ValueError: something else is registered under its name.
    """
    if isinstance(thing, str) and thing not in register and ":" not in thing:
        with contextlib.suppress(ValueError):  # which the register will say better
            return register.name_for(type(from_description({"kind": thing})))
    if is_dataclass(thing) and not isinstance(thing, type):
        for name, entry in register.entries().items():
            if type(entry.thing) is type(thing) and entry.thing == thing:
                return name
        return register.name_for(thing, _in_words(thing))
    return register.name_for(thing)


def _in_words(thing: Any) -> str:
    """Return an object by its class and the fields that are not at their defaults."""
    values = {field.name: getattr(thing, field.name) for field in fields(thing) if field.init}
    usual = {field.name: field.default for field in fields(thing)}
    told = ", ".join(f"{name}={value}" for name, value in values.items() if value != usual[name])
    return type(thing).__name__ + (f"({told})" if told else "")


def made(register: Register[Any], name: str, **options: Any) -> Any:
    """Return the part of a name: an object of a class, or the registered object, with options in its fields' place.

    Raises:
        ValueError: the name is unknown.
        TypeError: the part has no such option.
    """
    thing = register[name]
    if isinstance(thing, type):
        return thing(**options)
    return replace(thing, **options) if options else thing


def has_option(register: Register[Any], name: str, option: str) -> bool:
    """Return whether the part of a name takes an option by keyword."""
    thing = register[name]
    if isinstance(thing, partial) and thing.func is _with:
        thing = thing.args[0]
    while isinstance(thing, partial):
        thing = thing.func
    parameters = inspect.signature(thing if callable(thing) else type(thing)).parameters
    return option in parameters or any(given.kind is given.VAR_KEYWORD for given in parameters.values())


def options_among(values: Mapping[str, Plain], takes: Mapping[str, Callable[[str], bool]]) -> Options:
    """Return those of a definition's keys that are options of parts, such as ``optimizer.momentum``, sorted."""
    found = {}
    for key, value in values.items():
        part, dot, option = key.partition(".")
        if dot and value is not None and part in takes and takes[part](option):
            if isinstance(value, Mapping):
                raise TypeError(f"{key} must be a number, a text, a flag or a list, got the table {dict(value)}")
            found[key] = value
    return tuple(sorted(found.items()))


def options_of(options: Options, part: str) -> dict[str, Any]:
    """Return the options of a part, such as ``network``, by their names."""
    return {key.partition(".")[2]: value for key, value in options if key.partition(".")[0] == part}


def geometry_with(name: str, metric: str | None, retraction: str | None, options: Options) -> Geometry:
    """Return a geometry with a metric and a retraction by their names, None for its own, and options of all three."""
    values: dict[str, Any] = {}
    if metric is not None:
        values["metric"] = Embedded(**options_of(options, "metric")) if metric == EMBEDDED else metric
    if retraction is not None:
        values["retraction"] = made(RETRACTIONS, retraction, **options_of(options, "retraction"))
    found: Any = made(GEOMETRIES, name, **options_of(options, "geometry"))
    geometry: Geometry = replace(found, **values) if values else found
    return geometry


def build_optimizer(
    name: str, parameters: Any, learning_rate: float, network: nn.Module | None = None, **options: Any
) -> Optimizer:
    """Return the optimizer of a name: of a class the object with ``lr=learning_rate``, else what the function returns.

    Args:
        name: a registered one, or ``package.module:object``.
        parameters: what it moves.
        learning_rate: at the first step.
        network: that the parameters belong to, for :class:`OfNetwork`; None where there is none.
        **options: such as ``momentum=0.5``, in place of what the registered function would give.

    Raises:
        ValueError: the name is unknown, or the optimizer refuses the learning rate.
        TypeError: it has no such option, or what is returned is no optimizer.
    """
    build: Any = OPTIMIZERS[name]
    if isinstance(build, type) and issubclass(build, Optimizer):
        make: Any = build  # whose subclasses have a learning rate, which torch leaves open
        return make(parameters, lr=learning_rate, **options)
    if isinstance(build, OfNetwork):
        if network is None:
            raise ValueError(f"optimizer {name!r} is made of a network, and there is none; give another optimizer")
        parameters = network
    optimizer = build(parameters, learning_rate, **options)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer {name!r} must return a torch.optim.Optimizer, got {optimizer!r}")
    return optimizer


def require_step(name: str, parameters: Any, loss: Tensor, network: nn.Module | None = None, **options: Any) -> None:
    """Make one step of an optimizer along the gradient of a loss, to see that one can be made."""
    try:
        optimizer = build_optimizer(name, parameters, ANY_RATE, network, **options)
        loss.backward()
        optimizer.step()
    except Exception as error:  # a user's class may raise anything
        raise ValueError(
            f"optimizer {name!r} cannot make a step ({type(error).__name__}: {error}); it is called with parameters "
            f"and lr=, and step() without arguments"
        ) from error


def specification(parameterization: str, rank: int, spectrum: str, geometry: str = "stiefel") -> Specification:
    """Return the specification that the names stand for.

    Raises:
        ValueError: a name is unknown, or the rank is below 1.
        TypeError: the rank is no integer.
    """
    kind = SPECIFICATIONS[parameterization]
    return kind(rank, frames=GEOMETRIES[geometry], spectrum=SPECTRA[spectrum])
