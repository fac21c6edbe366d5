"""The structure of a network without its values, on which can be tried what must not fail half-way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def outline_of(network: nn.Module) -> nn.Module:
    """Return a network of the same structure, whose parameters and buffers have shapes and no values.

    Modules, and what they hold them in, are new; all other attributes are shared.
    """
    made: dict[int, Any] = {}

    def once(value: Any, make: Callable[[Any], Any]) -> Any:
        if value is not None and id(value) not in made:
            made[id(value)] = make(value)
        return None if value is None else made[id(value)]

    def tensor_of(tensor: Tensor) -> Tensor:
        if is_lazy(tensor):
            return copy.deepcopy(tensor)
        empty = torch.empty_like(tensor.detach().as_subclass(Tensor), device="meta")
        return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty

    def module_of(module: nn.Module) -> nn.Module:
        if isinstance(module, torch.jit.ScriptModule):  # whose attributes are not its own
            return copy.deepcopy(module)
        twin = type(module).__new__(type(module))
        twin.__dict__.update(module.__dict__)
        twin.__dict__["_non_persistent_buffers_set"] = set(module._non_persistent_buffers_set)
        for place, make in (("_parameters", tensor_of), ("_buffers", tensor_of), ("_modules", module_of)):
            twin.__dict__[place] = {name: once(value, make) for name, value in module.__dict__[place].items()}
        return twin

    outline: nn.Module = once(network, module_of)
    return outline
