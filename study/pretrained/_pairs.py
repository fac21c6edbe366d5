"""Layers in two factors: where a network has them, what they are made of, and one dense layer for both."""

from __future__ import annotations

import copy
from typing import Any, Final

import torch
from torch import nn

from ...layers import SpectralLayer, factorize

_LINEAR: Final = ("in_features", "out_features")
_EMBEDDING: Final = ("num_embeddings", "embedding_dim", "padding_idx")
_CONVOLUTION: Final = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode",
)  # fmt: skip


def factored_pairs(network: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a copy of a spectral network in plain layers, and the names of those that are two."""
    spectral = [
        name for name, module in network.named_modules(remove_duplicate=False) if isinstance(module, SpectralLayer)
    ]
    plain = factorize(network)
    # In attention, torch's own layer is around what was a layer: nothing is two there.
    modules = dict(plain.named_modules(remove_duplicate=False))
    return plain, tuple(name for name in spectral if isinstance(modules.get(name), nn.Sequential))


def options(layer: nn.Module) -> dict[str, Any]:
    """Return the arguments that make a layer like one of a pair."""
    if isinstance(layer, nn.Embedding):
        return {name: getattr(layer, name) for name in _EMBEDDING}
    names = _LINEAR if isinstance(layer, nn.Linear) else _CONVOLUTION
    found = {name: getattr(layer, name) for name in names}
    if hasattr(layer, "output_padding") and "Transpose" in type(layer).__name__:
        found["output_padding"] = layer.output_padding
    return {**found, "bias": getattr(layer, "bias", None) is not None}


def joined(network: nn.Module, pairs: tuple[str, ...]) -> nn.Module:
    """Return a copy of a network with one dense layer in the place of each pair; what was shared stays shared."""
    network = copy.deepcopy(network)
    modules = dict(network.named_modules(remove_duplicate=False))
    weights: dict[tuple[int, int], nn.Parameter] = {}
    made: dict[int, nn.Module] = {}
    for name in pairs:
        pair = modules[name]
        assert isinstance(pair, nn.Sequential)
        if id(pair) not in made:
            key = id(pair[0].weight), id(pair[1].weight)
            made[id(pair)] = _product(pair, weights, key).train(pair.training)
        parent, _, leaf = name.rpartition(".")
        if not name:
            return made[id(pair)]
        setattr(network.get_submodule(parent), leaf, made[id(pair)])
    return network


@torch.no_grad()
def _product(pair: nn.Sequential, weights: dict[tuple[int, int], nn.Parameter], key: tuple[int, int]) -> nn.Module:
    """Return one dense layer for a pair; its weight is that of the pair before it with equal factors."""
    first: Any
    second: Any
    first, second = pair
    a, b = first.weight, second.weight
    if isinstance(first, nn.Embedding):
        layer: nn.Module = nn.Embedding(len(a), len(b), first.padding_idx)
        weight = a @ b.mT
    elif isinstance(first, nn.Linear):
        layer = nn.Linear(first.in_features, second.out_features, second.bias is not None)
        weight = b @ a
    else:
        groups, outputs = first.groups, second.out_channels
        layer = type(first)(**options(first) | {"out_channels": outputs, "bias": second.bias is not None})
        mixing = b.reshape(groups, outputs // groups, -1)
        if "Transpose" in type(first).__name__:
            filters = a.reshape(groups, a.shape[0] // groups, a.shape[1], -1)
            product = torch.einsum("girk,gor->giok", filters, mixing)
        else:
            product = mixing @ a.reshape(groups, a.shape[0] // groups, -1)
        weight = product.reshape(layer.weight.shape)  # type: ignore[arg-type]
    layer.weight = weights.setdefault(key, nn.Parameter(weight.contiguous(), a.requires_grad))
    if getattr(second, "bias", None) is not None:
        layer.bias = second.bias
    return layer
