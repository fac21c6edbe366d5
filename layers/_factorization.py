"""Trained networks as plain torch.nn layers, two for each weight that is cheaper in two factors than in one piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ._attention import MultiheadAttention
from ._candidates import skipped_names
from ._conversion import DenseWeights, copy_of_spectral, dense_layer, with_layers
from ._convolution import Convolution, TransposedConvolution
from ._embedding import Embedding
from ._linear import Linear
from ._spectral_layer import SpectralLayer

# These read the weights of their children, which two layers do not have.
_READERS: Final = (nn.MultiheadAttention, MultiheadAttention, nn.TransformerEncoderLayer)
_POINTWISE: Final = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def factorize(network: nn.Module, skip: Iterable[str] = ()) -> nn.Module:
    """Return a copy of the network in plain torch.nn layers with equal outputs, to rounding.

    With W = U diag(s) Vᵀ, and √|s| on either side, a layer becomes a ``torch.nn.Sequential`` of two where that takes
    fewer multiplications at inference and has fewer parameters: a linear layer to r features without bias and one from
    there; a convolution to r channels for each group, with the layer's filter, stride, padding and dilation, and a
    1 × … × 1 convolution; an embedding in r dimensions and a linear layer, by the number of parameters alone. Other
    layers become what :func:`~sttp.layers.decompress` makes of them; so do

    - those in ``skip``, as wants code that reads a layer's ``weight``, or calls it with ``output_size``,
    - children of attention and transformer encoder layers, which torch itself reads the weights of,
    - embeddings with ``max_norm``, ``scale_grad_by_freq`` or a padding vector that is not zero,
    - layers that share a weight and are not all of one kind, whose factors could not be shared.

    Layers that share a weight share both factors, and those that have some rows each of one weight the first; hooks of
    forward and backward are kept, and run on the pair.

    Args:
        network: a network with spectral layers.
        skip: names of modules, or glob patterns for them, that are to become one layer.

    Raises:
        ValueError: the network has no spectral layer, or frames off their manifold, or a pattern in ``skip`` matches
            nothing.
    """
    names = skipped_names(network, skip)
    network = copy_of_spectral(network)
    whole = {id(module) for name, module in network.named_modules(remove_duplicate=False) if name in names}
    for parent in network.modules():
        if isinstance(parent, _READERS):
            whole |= {id(child) for child in parent.children()}
    sharing: dict[int, list[SpectralLayer]] = {}
    for module in network.modules():
        if isinstance(module, SpectralLayer):
            sharing.setdefault(id(module.spectral), []).append(module)
    factored = {
        key
        for key, layers in sharing.items()
        if len({(type(layer), getattr(layer, "padding_idx", None)) for layer in layers}) == 1
        and all(id(layer) not in whole and _is_cheaper_in_factors(layer) for layer in layers)
    }
    weights: DenseWeights = {}
    pairs: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}

    def make(layer: SpectralLayer) -> nn.Module:
        key = id(layer.spectral)
        if key not in factored:
            return dense_layer(layer, weights)
        if key not in pairs:
            pairs[key] = _factors(layer)
        first, second = pairs[key]
        if layer.rows is not None:
            second = nn.Parameter(second.detach()[slice(*layer.rows)].clone(), second.requires_grad)
        return _pair(layer, first, second)

    return with_layers(network, make)


def _is_cheaper_in_factors(layer: SpectralLayer) -> bool:
    shape, rank = layer.spectral.weight_shape, layer.spectral.manifold.shape.center_rank
    parameters = rank * (shape.groups * shape.columns + shape.rows)
    outputs = 1
    if isinstance(layer, Embedding):
        padding = layer.padding_vector
        if layer.max_norm is not None or layer.scale_grad_by_freq or (padding is not None and bool(padding.any())):
            return False
    elif isinstance(layer, TransposedConvolution):
        outputs = layer.outputs
    multiplications = rank * (shape.groups * shape.columns + outputs * shape.rows)
    return max(parameters, multiplications) < shape.rows * shape.columns


@torch.no_grad()
def _factors(layer: SpectralLayer) -> tuple[nn.Parameter, nn.Parameter]:
    """Return the weights of both layers, in the order in which they are applied."""
    left, values, right = layer.spectral.factors()
    root = values.abs().sqrt()
    left, right = left * (root * values.sign()), right * root
    if isinstance(layer, Embedding):
        row = layer.padding_idx
        if row is not None:
            left = left.index_fill(0, torch.tensor(row % len(left), device=left.device), 0.0)
        weights: tuple[Tensor, Tensor] = left, right
    elif isinstance(layer, Linear):
        weights = right.mT, left
    else:
        assert isinstance(layer, Convolution | TransposedConvolution)
        weights = layer.filters(right), layer.pointwise_filters(left)
    trained = layer.spectral.coordinates[0].requires_grad
    first, second = (nn.Parameter(weight.clone(memory_format=torch.contiguous_format), trained) for weight in weights)
    return first, second


def _pair(layer: SpectralLayer, first_weight: nn.Parameter, second_weight: nn.Parameter) -> nn.Sequential:
    place: dict[str, Any] = {"device": first_weight.device, "dtype": first_weight.dtype}
    rank = layer.spectral.manifold.shape.center_rank
    bias = layer.bias is not None
    first: nn.Module
    second: nn.Module
    if isinstance(layer, Embedding):
        first = skip_init(nn.Embedding, layer.num_embeddings, rank, padding_idx=layer.padding_idx, **place)
        second = skip_init(nn.Linear, rank, layer.embedding_dim, bias=False, **place)
    elif isinstance(layer, Linear):
        first = skip_init(nn.Linear, layer.in_features, rank, bias=False, **place)
        second = skip_init(nn.Linear, rank, layer.out_features, bias=bias, **place)
    else:
        assert isinstance(layer, Convolution | TransposedConvolution)
        channels = layer.groups * rank
        names = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        options = {name: getattr(layer, name) for name in names}
        if isinstance(layer, TransposedConvolution):
            options["output_padding"] = layer.output_padding
        first = skip_init(layer.namesake, layer.in_channels, channels, bias=False, **options, **place)
        pointwise = _POINTWISE[len(layer.stride)]
        second = skip_init(pointwise, channels, layer.out_channels, 1, groups=layer.groups, bias=bias, **place)
    first.weight = first_weight
    second.weight = second_weight
    if bias:
        second.bias = cast(nn.Parameter, layer.bias)
    return nn.Sequential(first, second).train(layer.training)
