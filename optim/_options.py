"""What the options of optimizers must be: a name means the same wherever it appears, and is checked here once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import geoopt
import torch
from torch import Tensor

from ..manifolds import (
    described,
    require_flag,
    require_instance,
    require_integer,
    require_number,
    require_precision,
    require_tensor,
)

# The largest number taken for a rate or a penalty: float32 has hardly larger ones.
_MOST: Final = 1e30


def require_options(options: Mapping[str, Any], names: Iterable[str] | None = None) -> None:
    """Refuse options whose meaning all optimizers share; others are left to the optimizer.

    Args:
        options: of a parameter group.
        names: of those to look at, all by default.

    Raises:
        TypeError: an option is of the wrong kind.
        ValueError: it is out of range.
    """
    for name in _CHECKS if names is None else names:
        if name in options:
            _CHECKS[name](name, options[name])


def require_rate(name: str, value: Any, *, below: float | None = None) -> None:
    """Refuse what is no learning rate: a number, or a tensor of one number, from 0 to 1e30.

    Raises:
        TypeError: it is of the wrong kind.
        ValueError: it is NaN, infinite or out of range.
    """
    if isinstance(value, Tensor):
        require_tensor(name, value)
        if value.numel() != 1 or not value.is_floating_point():
            raise TypeError(f"{name} must be a number or a tensor of one real number, got {described(value)}")
        if value.device.type == "meta":
            return
        value = float(value.detach())
    if below is None:
        require_number(name, value, least=0.0, most=_MOST)
    else:
        require_number(name, value, least=0.0, below=below)


def require_pair_of_rates(name: str, value: Any) -> None:
    """Refuse what is no pair of decay rates in [0, 1).

    Raises:
        TypeError: it is no pair of numbers.
        ValueError: a number is out of range.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{name} must be a pair of numbers in [0, 1) such as (0.9, 0.999), got {described(value)}")
    for index, rate in enumerate(value):
        require_number(f"{name}[{index}]", rate, least=0.0, below=1.0)


_amount = partial(require_number, least=0.0, most=_MOST)
_share = partial(require_number, least=0.0, most=1.0)
_CHECKS: Final[dict[str, Callable[[str, Any], None]]] = {
    "lr": require_rate,
    "betas": require_pair_of_rates,
    "eps": _amount,
    "weight_decay": _amount,
    "momentum": _share,
    "dampening": _share,
    "seed": require_integer,
    **dict.fromkeys(
        ("nesterov", "amsgrad", "maximize", "capturable", "decoupled_weight_decay", "error_if_nonfinite"), require_flag
    ),
}


def listed_parameters(params: Any) -> list[Any]:
    """Return the parameters, named parameters or parameter groups that an optimizer was given, as a list.

    Raises:
        TypeError: they are none of that.
    """
    if isinstance(params, Tensor):
        raise TypeError(f"params must be a list of tensors, named tensors or groups, got {described(params)}; wrap it")
    return _listed(params, "tensors, pairs of a name and a tensor, or groups such as {'params': …}", dict)


def listed_group(group: Any) -> dict[str, Any]:
    """Return a parameter group with its parameters in a list.

    Raises:
        TypeError: it is no parameter group, or a parameter is no real tensor of a precision that frames can have.
    """
    require_instance("param_group", group, dict, "a dictionary such as {'params': …, 'lr': 1e-3}")
    if "params" not in group:
        raise TypeError(f"param_group must have 'params', got the keys {sorted(map(str, group))}")
    params = group["params"]
    items = [params] if isinstance(params, Tensor) else _listed(params, "tensors, or pairs of a name and a tensor")
    for item in items:
        require_parameter(item[1] if isinstance(item, tuple) else item)
    return {**group, "params": items}


def require_state(state_dict: Any, groups: int) -> None:
    """Refuse what is no state of an optimizer with some number of parameter groups.

    Raises:
        TypeError: it is no dictionary, or its parts are none.
        ValueError: it has no state, or other numbers of parameter groups.
    """
    require_instance("state_dict", state_dict, dict, "a dictionary such as another optimizer's state_dict()")
    missing = [name for name in ("state", "param_groups") if name not in state_dict]
    if missing:
        raise ValueError(
            f"state_dict must have 'state' and 'param_groups', got the keys {sorted(map(str, state_dict))}; give what "
            f"an optimizer's state_dict() returned"
        )
    require_instance("the state of state_dict", state_dict["state"], dict, "a dictionary")
    found = state_dict["param_groups"]
    if not isinstance(found, list | tuple) or not all(isinstance(group, dict) for group in found):
        raise TypeError(f"the param_groups of state_dict must be a list of dictionaries, got {described(found)}")
    if len(found) != groups:
        raise ValueError(f"state_dict must have {groups} parameter groups as the optimizer has, got {len(found)}")


def require_parameter(parameter: Tensor) -> None:
    """Refuse a manifold parameter whose numbers are not real, or less precise than float32.

    Raises:
        TypeError: they are.
    """
    if not isinstance(parameter, geoopt.ManifoldTensor):
        return
    if parameter.is_complex():
        raise TypeError(
            f"manifold parameters must be real, got {parameter.dtype} on {type(parameter.manifold).__name__}; use the "
            f"optimizers of geoopt.optim for complex manifolds"
        )
    require_precision(parameter.dtype, "manifold parameters")


def _listed(params: Any, cure: str, *kinds: type) -> list[Any]:
    if isinstance(params, str | dict | set | torch.nn.Module) or not isinstance(params, Iterable):
        raise TypeError(f"params must be an iterable of {cure}, got {described(params)}")
    items = list(params)
    if not items:
        raise ValueError("params must be at least one tensor, got none; an exhausted generator is empty too")
    for item in items:
        named = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Tensor)
        if not named and not isinstance(item, (Tensor, *kinds)):
            raise TypeError(f"params must be an iterable of {cure}, got {described(item)} in it")
    return items
