"""Which weights of a network an adapter is for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, cast, final

import torch
from torch import Tensor, nn

from ..layers import SpectralLayer, WeightShape, candidates
from ..manifolds import described, require_instance
from ._adapted_layer import AdaptedLayer, exact_matrix, frozen_matrix
from ._adapter import FrozenWeight

_CURE: Final = "names of modules or glob patterns, such as ('*.query', '*.value')"


@final
@dataclass(frozen=True)
class Target:
    """A weight that can be adapted, with all layers that share it.

    Attributes:
        names: of the layers.
        weight: torch's weight, the parameter or rows of it.
        shape: how it becomes a matrix.
    """

    names: tuple[str, ...]
    weight: Tensor
    shape: WeightShape

    def frozen(self) -> FrozenWeight:
        """Return what an adapter is given of it."""
        return FrozenWeight(self.names, self.shape, exact_matrix(self.weight, self.shape))


def targets(network: nn.Module, only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Target]:
    """Return the weights that an adapter can change, in the network's order, shared ones once.

    Args:
        network: any module; adapted layers count by their own names, and spectral ones by their frozen weight.
        only: names of modules, or glob patterns for them, to which to keep; all where there are none.
        skip: likewise, to leave out.

    Raises:
        TypeError: the network is no module, or the patterns are no strings.
        ValueError: a pattern matches nothing, or there is nothing to adapt.
    """
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    kept, left = _patterns("only", only), _patterns("skip", skip)
    found = every_target(network)
    names = [name for target in found for name in target.names]
    for argument, patterns in (("only", kept), ("skip", left)):
        for pattern in patterns:
            if not any(_matches(name, pattern) for name in names):
                raise ValueError(f"{argument}={pattern!r} matches no layer that can be adapted; {_choice(names)}")
    chosen = [
        target
        for target in found
        if (not kept or any(_matches(name, pattern) for name in target.names for pattern in kept))
        and not any(_matches(name, pattern) for name in target.names for pattern in left)
    ]
    if not chosen:
        raise ValueError(f"network has nothing to adapt with only={kept!r} and skip={left!r}; {_choice(names)}")
    require_adaptable(network, chosen)
    return chosen


def every_target(network: nn.Module) -> list[Target]:
    """Return all weights of a network that are of a kind with changes, in its order."""
    modules = dict(network.named_modules(remove_duplicate=False))
    adapted = {name: module for name, module in modules.items() if isinstance(module, AdaptedLayer)}
    inside = tuple(f"{name}." if name else "" for name in adapted)
    groups: dict[int, tuple[list[str], Tensor, WeightShape]] = {}

    def add(key: object, name: str, weight: Tensor, shape: WeightShape) -> None:
        groups.setdefault(id(key), ([], weight, shape))[0].append(name)

    for name, module in adapted.items():
        add(module.changes, name, cast(Tensor, module.base.weight), module.weight_shape)
    for name, module in modules.items():
        if isinstance(module, SpectralLayer) and module.rows is None and not name.startswith(inside or (" ",)):
            add(module.spectral, name, frozen_matrix_of(module), module.spectral.weight_shape)
    found = [Target(tuple(names), weight, shape) for names, weight, shape in groups.values()]
    for candidate in candidates(network):
        names = tuple(name for name in candidate.names if not name.startswith(inside or (" ",)))
        if names:
            found.append(Target(names, candidate.weight, candidate.shape))
    order = {name: place for place, name in enumerate(modules)}
    return sorted(found, key=lambda t: order.get(t.names[0], order.get(t.names[0].rpartition(".")[0], 0)))


def frozen_matrix_of(layer: SpectralLayer) -> Tensor:
    """Return the weight of a spectral layer in torch's shape, without gradient."""
    with torch.no_grad():
        return layer.spectral.weight_shape.to_weight(frozen_matrix(layer, layer.spectral.weight_shape))


def require_adaptable(network: nn.Module, chosen: list[Target]) -> None:
    """Refuse weights that no change can have.

    Raises:
        ValueError: one is quantized, or an option of its layer changes it.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    for target in chosen:
        for name in target.names:
            layer = modules.get(name)
            for option in ("max_norm", "sparse"):
                if getattr(layer, option, None):
                    raise ValueError(
                        f"layer {name!r} has {option}={getattr(layer, option)}, which no adapted weight can have; "
                        f"skip it"
                    )
        if not target.weight.is_floating_point():
            raise ValueError(
                f"layer {target.names[0]!r} has a quantized weight, {described(target.weight)}; load the network in "
                f"float32 or bfloat16, or skip the layer"
            )


def _patterns(argument: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,)
    require_instance(argument, given, Iterable, _CURE)
    patterns = tuple(given)
    for pattern in patterns:
        require_instance(f"each pattern of {argument}", pattern, str, _CURE)
    return patterns


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[: k + 1]), pattern) for k in range(len(parts)))


def _choice(names: list[str]) -> str:
    if not names:
        return "it has no linear, convolution, embedding or attention layer"
    return f"give names such as {names[0]!r}, or glob patterns such as '*.{names[0].rpartition('.')[2]}'"
