"""Networks of layers in two factors: made from spectral ones, what they are built from, and dense ones again."""

from __future__ import annotations

import copy
from typing import Any, Final

import torch
from torch import nn

from ...layers import SpectralLayer, factorize
from .factored import Factored

_LINEAR: Final = ("in_features", "out_features")
_EMBEDDING: Final = ("num_embeddings", "embedding_dim", "padding_idx")
_CONVOLUTION: Final = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)


def factored_pairs(network: nn.Module) -> nn.Module:
    """Return a copy of a spectral network in plain layers, with a pair for one where that is smaller."""
    spectral = [
        name for name, module in network.named_modules(remove_duplicate=False) if isinstance(module, SpectralLayer)
    ]
    plain = factorize(network)
    modules = dict(plain.named_modules(remove_duplicate=False))
    pairs = {name: modules[name] for name in spectral if isinstance(modules.get(name), nn.Sequential)}
    made = {id(pair): Factored(*pair).train(pair.training) for pair in pairs.values()}
    for name, pair in pairs.items():
        plain = _put(plain, name, made[id(pair)])
    return plain


def descriptions(network: nn.Module) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return what makes the layers of each pair of a network, by name."""
    return {
        name: [(type(layer).__name__, _options(layer)) for layer in module]
        for name, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, Factored)
    }


@torch.no_grad()
def joined(network: nn.Module) -> nn.Module:
    """Return a copy of a network with one dense layer in the place of each pair; what was shared stays shared."""
    network = copy.deepcopy(network)
    weights: dict[tuple[int, int], nn.Parameter] = {}
    made: dict[int, nn.Module] = {}
    for name, pair in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(pair, Factored):
            continue
        if id(pair) not in made:
            key = id(pair[0].weight), id(pair[1].weight)
            weight = weights.setdefault(key, nn.Parameter(pair.weight.contiguous(), _is_trained(pair)))
            made[id(pair)] = _layer_like(pair)
            made[id(pair)].weight = weight
            if pair.bias is not None:
                made[id(pair)].bias = pair.bias
        network = _put(network, name, made[id(pair)])
    return network


def _is_trained(pair: Factored) -> bool:
    return any(parameter.requires_grad for parameter in pair.parameters())


def _layer_like(pair: Factored) -> nn.Module:
    first: Any
    second: Any
    first, second = pair
    options = _options(first) | {"device": first.weight.device, "dtype": first.weight.dtype}
    if isinstance(first, nn.Embedding):
        options["embedding_dim"] = second.out_features
    else:
        options["out_features" if isinstance(first, nn.Linear) else "out_channels"] = second.weight.shape[0]
        options["bias"] = second.bias is not None
    layer: nn.Module = type(first)(**options)
    return layer.train(pair.training)


def _options(layer: nn.Module) -> dict[str, Any]:
    """Return the arguments that make a layer like one of a pair."""
    if isinstance(layer, nn.Embedding):
        return {name: getattr(layer, name) for name in _EMBEDDING}
    found = {name: getattr(layer, name) for name in (_LINEAR if isinstance(layer, nn.Linear) else _CONVOLUTION)}
    if getattr(layer, "transposed", False):
        found["output_padding"] = layer.output_padding
    return {**found, "bias": layer.bias is not None}


def _put(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    if not name:
        return module
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
    return network
