"""Right calls of what ``sttp.optim`` has to offer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import geoopt
import torch
from torch import Tensor, nn

from sttp import optim
from sttp.manifolds import (
    Stiefel,
    haar_frame,
)
from sttp.optim import Retracted, WolfeSearch

from ..bad_values import HUGE
from .call import Call, Maker, fixed, generator, values
from .of_layers import spectral_network

OPTIMIZERS = (
    optim.RiemannianSGD,
    optim.RiemannianAdam,
    optim.CayleySGD,
    optim.CayleyAdam,
    optim.Landing,
    optim.POGO,
    optim.RandomSubmanifoldDescent,
    optim.MomentumStiefelSGD,
    optim.MomentumStiefelAdam,
    optim.ManifoldMuon,
    optim.SPEL,
)
# Which differ from one optimizer of torch to another, and are its own to refuse.
_TORCHS = {"foreach", "fused", "differentiable", "decoupled_weight_decay", "amsgrad", "capturable", "eps", "betas"}
_TORCHS |= {"alpha", "centered"}


def _parameter(dtype: torch.dtype = torch.float32) -> geoopt.ManifoldParameter:
    start = haar_frame(4, 2, dtype=dtype, generator=generator())
    return geoopt.ManifoldParameter(start, manifold=Stiefel())


def _with_gradient() -> list[Tensor]:
    parameter = _parameter()
    parameter.grad = torch.ones_like(parameter)
    return [parameter]


def _parameters() -> list[Tensor]:
    return [_parameter(), nn.Parameter(torch.ones(3))]


def _stepped(kind: Callable[..., torch.optim.Optimizer], **arguments: Any) -> None:
    """Build an optimizer and make a step with it: what a constructor takes must serve."""
    optimizer = kind(**arguments)
    if any(value == HUGE for value in arguments.values() if isinstance(value, int)):
        return  # so many iterations do not end
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad:
                parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _optimizer(kind: type[torch.optim.Optimizer]) -> dict[str, Maker]:
    """Return right arguments: all options that an optimizer has."""
    wanted = [name for name in inspect.signature(kind).parameters if name not in ("params", *_foreign(kind))]
    made = kind([nn.Parameter(torch.ones(2))])
    return {"params": _parameters, **values(**{name: made.defaults[name] for name in wanted if name in made.defaults})}


def _foreign(kind: type[torch.optim.Optimizer]) -> set[str]:
    return set() if kind.__module__.startswith("sttp") else _TORCHS


def calls() -> Iterator[Call]:
    call = functools.partial(Call, "optim")
    for kind in OPTIMIZERS:
        yield call(kind.__name__, functools.partial(_stepped, kind), _optimizer(kind), ("params",))
        right = {"param_group": lambda: {"params": [_parameter()], "lr": 0.1}}
        yield call(f"{kind.__name__}.add_param_group", functools.partial(_grown, kind), right, ("param_group",))
        state = {"state_dict": functools.partial(_state, kind)}
        yield call(f"{kind.__name__}.load_state_dict", functools.partial(_loaded, kind), state)
        yield call(f"{kind.__name__}.step", functools.partial(_closed, kind), {"closure": lambda: float})
    for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop):
        retracted = functools.partial(_stepped, functools.partial(Retracted, kind))
        yield call(f"Retracted({kind.__name__})", retracted, _optimizer(kind), ("params",))
    built = {"optimizer": lambda: torch.optim.SGD(_parameters())}
    yield call("Retracted", Retracted, built)
    beside = {"optimizer": fixed(torch.optim.SGD), "params": _parameters, **values(lr=0.1, momentum=0.9)}
    yield call("Retracted of a class", Retracted, beside)
    yield from _methods_of_descent()
    yield call("gradient_norm", optim.gradient_norm, {"parameters": _with_gradient})
    clipped = {"parameters": _with_gradient, **values(max_norm=1.0, error_if_nonfinite=False)}
    yield call("clip_gradient_norm_", optim.clip_gradient_norm_, clipped, ("parameters",))
    yield call("d_optimal", optim.d_optimal, {"network": spectral_network})
    yield call("divergence", optim.divergence, {"network": spectral_network, "width": fixed(0.1)})
    yield call("matrix_sign", optim.matrix_sign, {"matrix": lambda: torch.eye(4, 2), **values(floor=0.1, bound=2.0)})


def _grown(kind: type[torch.optim.Optimizer], param_group: Any) -> None:
    kind([_parameter()]).add_param_group(param_group)


def _state(kind: type[torch.optim.Optimizer]) -> dict[str, Any]:
    return kind(_with_gradient()).state_dict()


def _loaded(kind: type[torch.optim.Optimizer], state_dict: Any) -> None:
    optimizer = kind(_with_gradient())
    optimizer.load_state_dict(state_dict)
    optimizer.step()


def _closed(kind: type[torch.optim.Optimizer], closure: Any) -> None:
    kind(_with_gradient()).step(closure)


def _methods_of_descent() -> Iterator[Call]:
    call = functools.partial(Call, "optim")
    yield call("LBFGS", optim.LBFGS, values(memory=3, search=WolfeSearch()))
    yield call("ConjugateGradient", optim.ConjugateGradient, values(rule=optim.HagerZhang(), search=WolfeSearch()))
    yield call("SteepestDescent", optim.SteepestDescent, values(search=WolfeSearch()))
    yield call("HagerZhang", optim.HagerZhang, values(eta=0.1))
    yield call("PolakRibiere", optim.PolakRibiere, values(nonnegative=True))
    search = {field.name: field.default for field in fields(WolfeSearch)}
    yield call("WolfeSearch", WolfeSearch, values(**search))
    region = {"kappa": 0.1, "theta": 1.0, "acceptance": 0.1, "initial_radius": 1.0, "largest_radius": 2.0}
    regions = values(**region, max_products=3, preconditioner=lambda: list)
    yield call("TrustRegions", optim.TrustRegions, regions)
    for method in (optim.SteepestDescent(), optim.LBFGS(), optim.ConjugateGradient(), optim.TrustRegions()):
        tolerances = {"gradient_tolerance": 1e-3, "step_tolerance": 0.0, "max_iterations": 5, "max_seconds": 1.0}
        right = {
            "parameters": lambda: [_parameter(torch.float64)],
            **values(method=method, **tolerances, progress=False),
            "callback": lambda: bool,
        }
        yield call(f"minimize by {type(method).__name__}", _minimized, right, ("parameters",))
    costs = {"cost": lambda: COST, "parameters": lambda: [COST.parameter]}
    yield call("minimize", optim.minimize, costs, ("parameters",))


def _minimized(parameters: Any, **arguments: Any) -> None:
    """Minimize a cost of whatever parameters there are."""
    listed = list(parameters) if isinstance(parameters, list | tuple) else []

    def cost() -> Tensor:
        tensors = [item for item in listed if isinstance(item, Tensor)]
        return sum(((item - 0.5).square().sum() for item in tensors), torch.zeros((), dtype=torch.float64))

    optim.minimize(cost, parameters, **arguments)


class _Cost:
    """A cost of one parameter."""

    def __init__(self) -> None:
        self.parameter = _parameter(torch.float64)

    def __call__(self) -> Tensor:
        return (self.parameter - 0.5).square().sum()


COST = _Cost()
