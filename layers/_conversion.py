"""Whole networks: torch.nn layers to spectral ones and back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, final

import torch
from torch import nn

from . import _convolution as convolution
from ._embedding import Embedding
from ._evaluation import attach, detach
from ._feasibility import require_feasible
from ._linear import Linear
from ._plan import Forward
from ._specification import Specification
from ._spectral_layer import SpectralLayer, share_hooks
from ._spectral_weight import SpectralWeight, spectral_weights
from ._weight_shape import WeightShape

# NonDynamicallyQuantizableLinear is the Linear in nn.MultiheadAttention.
SPECTRAL_LAYERS: Final[dict[type[nn.Module], type[SpectralLayer]]] = {
    nn.Linear: Linear,
    nn.modules.linear.NonDynamicallyQuantizableLinear: Linear,
    nn.Conv1d: convolution.Conv1d,
    nn.Conv2d: convolution.Conv2d,
    nn.Conv3d: convolution.Conv3d,
    nn.ConvTranspose1d: convolution.ConvTranspose1d,
    nn.ConvTranspose2d: convolution.ConvTranspose2d,
    nn.ConvTranspose3d: convolution.ConvTranspose3d,
    nn.Embedding: Embedding,
}


@final
@dataclass(frozen=True)
class Candidate:
    """A weight that can be reparameterized: all names of all layers that share it."""

    names: tuple[str, ...]
    layers: tuple[nn.Module, ...]
    weight: nn.Parameter
    shape: WeightShape


def candidates(network: nn.Module, skip: Iterable[str] = ()) -> list[Candidate]:
    """Return the weights of a network that can be reparameterized, in its order, shared ones once.

    Raises:
        ValueError: a pattern in ``skip`` matches nothing, or a weight is shared with something that cannot follow.
    """
    left_alone = skipped_names(network, skip)
    found: dict[int, list[tuple[str, nn.Module, nn.Parameter]]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        weight = module._parameters.get("weight")
        if type(module) in SPECTRAL_LAYERS and weight is not None and name not in left_alone:
            found.setdefault(id(weight), []).append((name, module, weight))
    result = []
    for entries in found.values():
        names, layers, weights = zip(*entries, strict=True)
        shapes = {WeightShape.of(layer) for layer in layers}
        _require_whole_sharing(network, names, weights[0], shapes)
        result.append(Candidate(names, layers, weights[0], shapes.pop()))
    return result


def skipped_names(network: nn.Module, skip: Iterable[str]) -> set[str]:
    """Return the names of the modules that match a pattern or lie in one that does.

    Raises:
        ValueError: a pattern matches nothing.
    """
    patterns = (skip,) if isinstance(skip, str) else tuple(skip)
    unused, names = set(patterns), set()
    for name, _ in network.named_modules(remove_duplicate=False):
        parts = name.split(".")
        ancestors = [".".join(parts[: k + 1]) for k in range(len(parts))]
        matches = {pattern for pattern in patterns if any(fnmatchcase(a, pattern) for a in ancestors)}
        unused -= matches
        if matches:
            names.add(name)
    if unused:
        raise ValueError(
            f"skip={sorted(unused)[0]!r} matches no module; give qualified names, such as "
            f"{next((name for name, _ in network.named_modules() if name), 'conv1')!r}, or glob patterns, such as '*.0'"
        )
    return names


def require_candidates(network: nn.Module, skip: Iterable[str] = ()) -> list[Candidate]:
    """Return :func:`candidates`, of which there must be one.

    Raises:
        ValueError: there is none; or see there.
    """
    skip = (skip,) if isinstance(skip, str) else tuple(skip)
    chosen = candidates(network, skip)
    if not chosen:
        raise ValueError(
            f"network has nothing to reparameterize: {type(network).__name__} has no linear, convolution or embedding "
            f"layer outside skip={skip!r}; pass another network or skip less"
        )
    return chosen


def reparameterize(
    network: nn.Module,
    spec: Specification,
    skip: Iterable[str] = (),
    init: Literal["weights"] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Give the linear, convolution and embedding layers of a network spectral weights, in place.

    Layers that share a weight share the spectral weight; biases stay the objects that they are. Layers that are already
    spectral are left alone, so that parts of a network can be given different specifications one after another.
    Build the optimizer afterwards.

    Args:
        network: any module; a single layer is returned as a new one.
        spec: ``STTP(…)`` or ``SVDP(…)``.
        skip: names of modules, or glob patterns for them, to leave as they are with all that they contain.
        init: None for fresh frames, or ``"weights"`` to start from the weights there are by TT-SVD, whose relative
            error is kept in each ``layer.spectral.fit_error``.
        generator: draws fresh frames; torch's global one by default.

    Returns:
        The network.

    Raises:
        TypeError: ``spec`` is no specification, or a weight is not float32 or float64.
        ValueError: nothing is there to reparameterize, or ``init`` is neither of the two; or see :func:`candidates`,
            :class:`~sttp.manifolds.TrainShape`, :class:`~sttp.manifolds.SpectralTensorTrain`.
    """
    if not isinstance(spec, Specification):
        raise TypeError(f"spec must be STTP(...) or SVDP(...), got {spec!r}")
    if init not in (None, "weights"):
        raise ValueError(f"init must be None for fresh frames or 'weights' for the weights there are, got {init!r}")
    chosen = require_candidates(network, skip)
    dropped: dict[str, float] = {}
    replacements: list[tuple[Candidate, SpectralWeight]] = []
    for candidate in chosen:  # everything that can be refused is, before anything is replaced
        spectral = _empty(candidate, spec)
        if init is None:
            spectral.initialize(spec.initialization, generator)
        else:
            dropped[candidate.names[0]] = float(spectral.fit(candidate.weight).scale)
        replacements.append((candidate, spectral.requires_grad_(candidate.weight.requires_grad)))
    _warn_of_dropped_scales(spec, {name: scale for name, scale in dropped.items() if scale != 1})
    for candidate, spectral in replacements:
        network = replace_layers(network, candidate, spectral, spec.forward)
    attach(network)
    return network


def decompress(network: nn.Module) -> nn.Module:
    """Return a copy of the network with torch.nn layers and equal outputs; what was shared stays shared.

    One exception: an embedding with ``padding_idx`` reads a row of its own in place of the weight's, and where that
    row differs gets a weight of its own.

    Raises:
        ValueError: the network has no spectral layer, or frames off their manifold.
    """
    network = copy_of_spectral(network)
    weights: dict[int, nn.Parameter] = {}
    return with_layers(network, lambda layer: dense_layer(layer, weights))


def copy_of_spectral(network: nn.Module) -> nn.Module:
    """Return a copy of a network with spectral layers, in which each of them computes for itself.

    Raises:
        ValueError: it has none, or frames off their manifold.
    """
    if not any(isinstance(module, SpectralLayer) for module in network.modules()):
        raise ValueError(f"network has no spectral layer to decompress: {type(network).__name__} is dense already")
    require_feasible(spectral_weights(network))
    network = copy.deepcopy(network)
    detach(network)
    return network


def with_layers(network: nn.Module, make: Callable[[SpectralLayer], nn.Module]) -> nn.Module:
    """Put what ``make`` returns in the places of the spectral layers of a network, one for each with its hooks."""
    made: dict[int, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(module, SpectralLayer):
            continue
        if id(module) not in made:
            made[id(module)] = make(module)
            share_hooks(module, made[id(module)])
        network = set_submodule(network, name, made[id(module)])
    return network


def dense_layer(module: SpectralLayer, weights: dict[int, nn.Parameter]) -> nn.Module:
    """Return a torch.nn layer with equal outputs and the same bias.

    Args:
        module: a spectral layer.
        weights: the dense weights made so far by the id of the spectral ones, which layers that share one share.
    """
    layer = module.dense()
    weight = layer._parameters["weight"]
    assert weight is not None
    shared = weights.setdefault(id(module.spectral), weight)
    if torch.equal(shared, weight):
        layer.weight = shared
    if module.bias is not None:
        layer.bias = module.bias
    return layer


def replace_layers(
    network: nn.Module, candidate: Candidate, spectral: SpectralWeight, forward: Forward = "auto"
) -> nn.Module:
    """Put the spectral forms of a candidate's layers, all with one weight, in the network's places."""
    made: dict[int, nn.Module] = {}
    for name, layer in zip(candidate.names, candidate.layers, strict=True):
        if id(layer) not in made:
            made[id(layer)] = SPECTRAL_LAYERS[type(layer)].of(layer, spectral, forward)
        network = set_submodule(network, name, made[id(layer)])
    return network


def set_submodule(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Put a module in a place by its qualified name; the empty name is the network itself."""
    if not name:
        return module
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
    return network


def _empty(candidate: Candidate, spec: Specification) -> SpectralWeight:
    weight = candidate.weight
    try:
        return SpectralWeight(spec.manifold(candidate.shape), candidate.shape, weight.dtype, weight.device)
    except (TypeError, ValueError) as error:
        raise type(error)(f"layer {candidate.names[0]!r}: {error}") from None


def _require_whole_sharing(
    network: nn.Module, names: tuple[str, ...], weight: nn.Parameter, shapes: set[WeightShape]
) -> None:
    owners = {name for name, parameter in network.named_parameters(remove_duplicate=False) if parameter is weight}
    others = sorted(owners - {f"{name}.weight".removeprefix(".") for name in names})
    if others:
        raise ValueError(
            f"the weight of {names[0]!r} is also {others[0]!r}, which is not reparameterized; skip both, or untie them"
        )
    if len(shapes) > 1:
        raise ValueError(
            f"the layers {', '.join(map(repr, names))} share a weight but read it as different matrices; "
            f"skip or untie them"
        )


def _warn_of_dropped_scales(spec: Specification, dropped: dict[str, float]) -> None:
    if not dropped:
        return
    listed = ", ".join(f"{name} ({scale:.4g})" for name, scale in dropped.items())
    warnings.warn(
        f"the spectrum {type(spec.spectrum).__name__} cannot hold the scale of the weights and drops it: {listed}; "
        f"use Free() to keep it",
        UserWarning,
        stacklevel=3,
    )
