"""Whole networks: adapters on, merged, unmerged, off again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast

import torch
from torch import nn

from ..layers import (
    MultiheadAttention,
    SpectralLayer,
    SpectralWeight,
    WeightShape,
    evaluate_apart,
    evaluate_together,
    spectral_weights,
)
from ..manifolds import described, require_instance
from ._adapted_layer import AdaptedLayer, Attachment, with_weight
from ._adapter import Adapter, FrozenWeight
from ._change import Change
from ._spectral_merge import merged_spectral
from ._targets import Target, targets

# The largest ‖W(θ_0) − W0‖_F / ‖W0‖_F of a start that is the identity.
TOLERANCE: Final = 1e-5


def adapt(
    network: nn.Module,
    adapter: Adapter,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    name: str = "default",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Freeze a network and let an adapter change its linear, convolution, embedding and attention weights, in place.

    All parameters are frozen when the first adapter comes: let what is to be trained beside it, such as a new head,
    require gradients afterwards. On the layers that it is for, the adapter is from now on the active one. Build the
    optimizer afterwards.

    Args:
        network: any module; a single layer is returned as a new one.
        adapter: what changes the weights.
        only: names of modules, or glob patterns for them, to which to keep; all where there are none.
        skip: likewise, to leave as they are.
        name: of the adapter, by which it is switched, merged and saved.
        generator: draws the start; torch's global one by default.

    Returns:
        The network.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a pattern matches nothing, a weight does not fit the adapter or has one of this name already, is
            merged, or would not be reproduced at the start.
    """
    require_instance("adapter", adapter, Adapter, "an adapter such as STTPAdapter(rank=8)")
    require_name(name)
    if generator is not None:
        require_instance("generator", generator, torch.Generator, "a torch.Generator, or None for torch's global one")
    chosen = targets(network, only, skip)
    require_free(network, chosen, name)
    weights = [target.frozen() for target in chosen]
    changes = checked_changes(adapter, weights, generator)
    return attach_changes(network, chosen, changes, Attachment(adapter), name)


def checked_changes(
    adapter: Adapter, weights: Sequence[FrozenWeight], generator: torch.Generator | None
) -> list[Change]:
    """Return the changes that an adapter makes of weights, whose start was looked at.

    Raises:
        ValueError: a weight does not fit, or would not be reproduced at the start though the adapter says so.
    """
    changes = adapter.changes(weights, generator)
    if adapter.defect is None:
        for weight, change in zip(weights, changes, strict=True):
            _require_identity(adapter, weight, change)
    return changes


def attach_changes(
    network: nn.Module, chosen: list[Target], changes: list[Change], attachment: Attachment, name: str
) -> nn.Module:
    """Put the changes of some weights of a network in their places; see :func:`adapt`."""
    if not adapted_layers(network):
        network.requires_grad_(False)
    for target, change in zip(chosen, changes, strict=True):
        made: dict[int, AdaptedLayer] = {}
        shared: nn.ModuleDict | None = None
        for place in target.names:
            _open_attention(network, place)
            layer = network.get_submodule(place)
            if not isinstance(layer, AdaptedLayer):
                if id(layer) not in made:
                    shape = WeightShape.of(layer) if not isinstance(layer, SpectralLayer) else target.shape
                    made[id(layer)] = AdaptedLayer(layer, shape, nn.ModuleDict() if shared is None else shared)
                layer = made[id(layer)]
                network = _set(network, place, layer)
            shared = layer.changes
            layer.attach(name, change, attachment)
    evaluate_together(network)
    return network


def switch(network: nn.Module, *names: str) -> nn.Module:
    """Let the adapters with these names take part, summed where a layer has several of them, and no others.

    Without a name the network is the base again.

    Raises:
        ValueError: there is no adapter of a name, or some cannot be summed, or the network is merged.
    """
    layers = require_adapted(network, names)
    for layer in layers.values():
        if layer.is_merged:
            raise ValueError("network is merged, so that no adapter can be switched; call unmerge(network) first")
        layer.require_together(names)
    for layer in layers.values():
        layer.active = tuple(name for name in names if name in layer.changes)
    return network


def merge(network: nn.Module) -> nn.Module:
    """Fold the active adapters into plain weights, in place: layers compute as fast as the base. It can be undone.

    A spectral layer with spectral changes of equal modes gets a train of the sum of the ranks, which holds the sum
    exactly; with others it becomes a torch.nn layer. :func:`detach` afterwards leaves a network without adapters.

    Raises:
        ValueError: the network has no adapter, or is merged already.
    """
    layers = require_adapted(network, ())
    for layer in layers.values():
        if layer.is_merged:
            raise ValueError("network is merged already; call unmerge(network) first")
    trains: dict[int, SpectralWeight | None] = {}
    weights: dict[int, nn.Parameter] = {}
    with torch.no_grad():
        for layer in {id(layer): layer for layer in layers.values()}.values():
            if not any(name in layer.changes for name in layer.active):
                continue
            key, base = id(layer.changes), layer.base  # layers that share a weight share what it becomes
            if isinstance(base, SpectralLayer):
                if key not in trains:
                    changes = [cast(Change, layer.changes[name]) for name in layer.active if name in layer.changes]
                    trains[key] = merged_spectral(base, changes)
                spectral = trains[key]
                if spectral is not None:
                    merged = type(base).of(base.dense(), spectral, base.plan.forward)
                    merged.register_parameter("bias", base.bias)
                    layer.merge_into(merged)
                    continue
            if key not in weights:
                weights[key] = nn.Parameter(layer.weight.detach(), False)
            layer.merge_into(with_weight(base, weights[key]))
    return network


def unmerge(network: nn.Module) -> nn.Module:
    """Undo :func:`merge`: the base's own weights are back, to the last bit, and the adapters beside them.

    Raises:
        ValueError: the network has no adapter.
    """
    for layer in require_adapted(network, ()).values():
        layer.unmerge()
    return network


def detach(network: nn.Module, *names: str) -> nn.Module:
    """Take adapters off, all where there is no name; layers without one are the base's own again.

    The base's weights are back, frozen as they are; those of a merged network stay merged.

    Raises:
        ValueError: there is no adapter of a name, or the network is merged and a name is given.
    """
    layers = require_adapted(network, names)
    if names and any(layer.is_merged for layer in layers.values()):
        raise ValueError("network is merged, so that adapters can only be taken off together; call unmerge first")
    for place, layer in layers.items():
        for name in names or tuple(layer.attachments):
            layer.remove(name)
        if not layer.attachments:
            network = _set(network, place, layer.base)
    if not adapted_layers(network):
        network = _close_attention(network)
    if not spectral_weights(network):
        evaluate_apart(network)
    return network


def adapted_layers(network: nn.Module) -> dict[str, AdaptedLayer]:
    """Return the layers that have adapters, by every name that they have.

    Raises:
        TypeError: the network is no module.
    """
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    modules = network.named_modules(remove_duplicate=False)
    return {name: module for name, module in modules if isinstance(module, AdaptedLayer)}


def require_adapted(network: nn.Module, names: Iterable[str]) -> dict[str, AdaptedLayer]:
    """Return :func:`adapted_layers`, of which there must be one, and one with each name.

    Raises:
        ValueError: there is none.
    """
    layers = adapted_layers(network)
    if not layers:
        raise ValueError(f"network has no adapter: call adapt({type(network).__name__}, adapter) first")
    known = sorted({name for layer in layers.values() for name in layer.attachments})
    for name in names:
        if name not in known:
            raise ValueError(f"network has no adapter {described(name)}; it has {', '.join(map(repr, known))}")
    return layers


def require_name(name: object) -> None:
    """Refuse what cannot be an adapter's name.

    Raises:
        TypeError: it is no string.
        ValueError: it is empty or has a dot.
    """
    require_instance("name", name, str, "a string such as 'default'")
    if not name or "." in cast(str, name):
        raise ValueError(f"name must be a word without a dot, got {name!r}")


def require_free(network: nn.Module, chosen: list[Target], name: str) -> None:
    """Refuse weights that have an adapter of a name, or are merged.

    Raises:
        ValueError: there is one.
    """
    layers = adapted_layers(network)
    for target in chosen:
        for place in target.names:
            layer = layers.get(place)
            if layer is not None and name in layer.attachments:
                raise ValueError(f"name={name!r} is that of an adapter of layer {place!r} already; give another name")
            if layer is not None and layer.is_merged:
                raise ValueError(f"layer {place!r} is merged; call unmerge(network), or detach(network) to keep it so")


def _require_identity(adapter: Adapter, weight: FrozenWeight, change: Change) -> None:
    if weight.matrix.is_meta:
        return
    with torch.no_grad():
        distance = torch.linalg.norm(change.merged(weight.matrix) - weight.matrix)
        scale = torch.linalg.norm(weight.matrix)
    if not distance <= TOLERANCE * scale and distance > 0:
        raise ValueError(
            f"layer {weight.names[0]!r}: {adapter} would change the weight at its start, by {float(distance):.3g} "
            f"where it has norm {float(scale):.3g}; give it a start that is the identity, or say its defect"
        )


def _set(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    if not name:
        return module
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
    return network


def _open_attention(network: nn.Module, place: str) -> None:
    """Put layers for queries, keys and values into torch's attention where a place is one of them."""
    owner, _, _ = place.rpartition(".")
    attention = network.get_submodule(owner)
    if type(attention) is nn.MultiheadAttention and not hasattr(attention, place.rpartition(".")[2]):
        opened = MultiheadAttention.of(attention, joint=False)
        for name, module in list(network.named_modules(remove_duplicate=False)):
            if module is attention:
                _set(network, name, opened)


def _close_attention(network: nn.Module) -> nn.Module:
    """Put torch's attention back where all of its layers are plain ones."""
    packed: dict[tuple[int, ...], nn.Parameter] = {}
    made: dict[int, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if isinstance(module, MultiheadAttention) and all(isinstance(c, nn.Linear) for c in module.children()):
            if id(module) not in made:
                made[id(module)] = module.dense(packed)
            network = _set(network, name, made[id(module)])
    return network
