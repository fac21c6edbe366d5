"""Whole networks: torch.nn layers to spectral ones and back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from typing import Any, Literal, get_args

import torch
from torch import nn

from ..manifolds import InputMetric, SpectralTensorTrain, described, require_choice, require_flag
from ._attention import MultiheadAttention
from ._calibration import Calibration, require_calibration
from ._candidates import SPECTRAL_LAYERS, Candidate, patterns_of
from ._evaluation import attach, detach
from ._feasibility import require_feasible
from ._joint import chosen_by
from ._plan import Forward
from ._progress import followed
from ._specification import Specification
from ._spectral_layer import SpectralLayer, require_spec, share_hooks
from ._spectral_weight import SpectralWeight, require_network, spectral_weights

Order = Literal["parallel", "sequential"]
DenseWeights = dict[tuple[int, tuple[int, int] | None], nn.Parameter]


def reparameterize(
    network: nn.Module,
    spec: Specification,
    skip: Iterable[str] = (),
    init: Literal["weights"] | None = None,
    generator: torch.Generator | None = None,
    *,
    inplace: bool = True,
    calibration: Iterable[Any] | None = None,
    order: Order = "parallel",
    joint: Iterable[str] = (),
    progress: bool = False,
) -> nn.Module:
    """Give the linear, convolution, embedding and attention layers of a network spectral weights, in place.

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
        inplace: False to change a deep copy, and to leave the network as it is.
        calibration: batches of what the network takes, tensors, tuples of arguments or dicts of named ones: fits then
            minimize ‖(W − Ŵ)C^{1/2}‖_F, C the second moment of what the layer is given on these data, and its relative
            value is kept in each ``layer.spectral.calibrated_error``. It is never above that of the plain fit.
        order: ``"parallel"``, by which all layers see what they see in the dense network, in one pass over the data; or
            ``"sequential"``, by which each sees the outputs of the fitted ones before it, in a pass for each layer.
        joint: glob patterns of linear layers that read the same input. Those of a module that match one pattern get one
            weight, of all their rows, of which each has its own: they share V and the spectrum, as queries, keys and
            values do with ``attention="joint"``. As a train the first mode of equal matrices tells which one.
        progress: show on the standard error how many weights are fitted.

    Returns:
        The network, or its copy.

    Raises:
        TypeError: an argument is of a wrong type, or a weight is not float32 or float64.
        ValueError: nothing is there to reparameterize, or ``init`` is neither of the two, or the calibration data are
            none, or none that the network takes, or give a layer nothing or what is not finite, or ``joint`` matches
            nothing, or what cannot be one weight; or see :func:`candidates`,
            :class:`~sttp.manifolds.TrainShape`, :class:`~sttp.manifolds.SpectralTensorTrain`.
    """
    require_network(network)
    require_spec(spec, generator)
    if init is not None and not (isinstance(init, str) and init == "weights"):
        raise ValueError(
            f"init must be None for fresh frames or 'weights' for the weights there are, got {described(init)}"
        )
    require_flag("inplace", inplace)
    require_flag("progress", progress)
    if init is None and spec.tolerance is not None:
        raise ValueError(
            f"tolerance={spec.tolerance} is one of fits and init is None; pass init='weights', or leave it out"
        )
    require_choice("order", order, get_args(Order))
    if calibration is not None:
        require_calibration(calibration)
        if init is None:
            raise ValueError("calibration is for fits, and init is None; pass init='weights', or leave it out")
    skip = patterns_of(skip)
    if not inplace:
        network = copy.deepcopy(network)
    chosen = chosen_by(spec, network, skip, joint)
    # Everything that can be refused is, before anything is replaced.
    if init is None:
        weights = [_empty(c, c.manifold(spec)).initialize(spec.initialization, generator) for c in chosen]
    else:
        weights = fitted_weights(network, chosen, spec, calibration, order, progress)
    for candidate, spectral in zip(chosen, weights, strict=True):
        spectral.requires_grad_(candidate.weight.requires_grad)
        network = replace_layers(network, candidate, spectral, spec.forward)
    attach(network)
    return network


def fitted_weights(
    network: nn.Module,
    chosen: Sequence[Candidate],
    spec: Specification,
    calibration: Iterable[Any] | None,
    order: Order,
    progress: bool = False,
) -> list[SpectralWeight]:
    """Return the fits of the weights of a network, and warn once of scales that the spectrum cannot hold."""
    dropped: dict[int, float] = {}

    def each(indices: Sequence[int]) -> AbstractContextManager[Iterable[int]]:
        return followed(indices, "fitting", lambda index: chosen[index].names[0], progress)

    def fitted(index: int, metric: InputMetric | None) -> SpectralWeight:
        candidate = chosen[index]
        spectral = _empty(candidate, candidate.manifold(spec, metric))
        try:
            dropped[index] = float(spectral.fit(candidate.weight, metric).scale)
        except ValueError as error:
            raise ValueError(
                f"network has a weight that cannot be fitted, of {candidate.names[0]!r}: {error}"
            ) from None
        return spectral

    if calibration is not None and order == "sequential":
        data = Calibration(network, chosen, list(calibration))
        made: dict[int, SpectralWeight] = {}
        with each(data.order()) as indices:
            for index in indices:
                made[index] = fitted(index, data.metric(index))
                data.replace(index, made[index].weight())
        weights = [made[index] for index in range(len(chosen))]
    else:
        metrics: Iterator[InputMetric | None] = repeat(None)
        if calibration is not None:
            metrics = Calibration(network, chosen, calibration).metrics()
        with each(range(len(chosen))) as indices:
            weights = [fitted(index, next(metrics)) for index in indices]
    _warn_of_dropped_scales(
        spec, {chosen[index].names[0]: scale for index, scale in sorted(dropped.items()) if scale != 1}
    )
    return weights


def decompress(network: nn.Module) -> nn.Module:
    """Return a copy of the network with torch.nn layers and equal outputs; what was shared stays shared.

    One exception: an embedding with ``padding_idx`` reads a row of its own in place of the weight's, and where that
    row differs gets a weight of its own.

    Raises:
        TypeError: the network is no module.
        ValueError: the network has no spectral layer, or frames off their manifold.
    """
    network = copy_of_spectral(network)
    weights: DenseWeights = {}
    return with_layers(network, lambda layer: dense_layer(layer, weights))


def copy_of_spectral(network: nn.Module) -> nn.Module:
    """Return a copy of a network with spectral layers, in which each of them computes for itself.

    Raises:
        TypeError: it is no module.
        ValueError: it has none, or frames off their manifold.
    """
    require_network(network)
    if not any(isinstance(module, SpectralLayer) for module in network.modules()):
        raise ValueError(f"network has no spectral layer to decompress: {type(network).__name__} is dense already")
    require_feasible(spectral_weights(network))
    network = copy.deepcopy(network)
    detach(network)
    return network


def with_layers(network: nn.Module, make: Callable[[SpectralLayer], nn.Module]) -> nn.Module:
    """Put what ``make`` returns in the places of the spectral layers of a network, one for each with its hooks.

    Attention becomes torch's own around them, so that ``make`` must return a plain layer for each in it.
    """
    made: dict[int, nn.Module] = {}
    packed: dict[tuple[int, ...], nn.Parameter] = {}
    for kind in (SpectralLayer, MultiheadAttention):
        for name, module in list(network.named_modules(remove_duplicate=False)):
            if not isinstance(module, kind):
                continue
            if id(module) not in made:
                if isinstance(module, MultiheadAttention):
                    made[id(module)] = module.dense(packed)
                else:
                    made[id(module)] = make(module)
                    share_hooks(module, made[id(module)])
            network = set_submodule(network, name, made[id(module)])
    return network


def dense_layer(module: SpectralLayer, weights: DenseWeights) -> nn.Module:
    """Return a torch.nn layer with equal outputs and the same bias.

    Args:
        module: a spectral layer.
        weights: the dense weights made so far by the id and rows of the spectral ones; layers that share one share it.
    """
    layer = module.dense()
    weight = layer._parameters["weight"]
    assert weight is not None
    shared = weights.setdefault((id(module.spectral), module.rows), weight)
    if shared is weight or weight.is_meta or torch.equal(shared, weight):
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
        if isinstance(layer, nn.MultiheadAttention):
            network = _opened(network, name, layer)
        if id(layer) not in made:
            plain = network.get_submodule(name)
            made[id(layer)] = SPECTRAL_LAYERS[type(plain)].of(plain, spectral, forward, candidate.rows_of(name))
        network = set_submodule(network, name, made[id(layer)])
    return network


def _opened(network: nn.Module, name: str, attention: nn.MultiheadAttention) -> nn.Module:
    """Put the form of an attention layer that has layers in it in all its places, unless it is there by now.

    Args:
        network: where the layer is.
        name: of one of the layers that are to be in it.
        attention: torch's layer.
    """
    places = [place for place, module in network.named_modules(remove_duplicate=False) if module is attention]
    opened = MultiheadAttention.of(attention, name.endswith("in_proj")) if places else None
    for place in places:
        assert opened is not None
        network = set_submodule(network, place, opened)
    return network


def set_submodule(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Put a module in a place by its qualified name; the empty name is the network itself."""
    if not name:
        return module
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)
    return network


def _empty(candidate: Candidate, manifold: SpectralTensorTrain) -> SpectralWeight:
    weight = candidate.weight
    try:
        return SpectralWeight(manifold, candidate.shape, weight.dtype, weight.device)
    except TypeError as error:
        raise TypeError(f"layer {candidate.names[0]!r}: {error}") from None


def _warn_of_dropped_scales(spec: Specification, dropped: dict[str, float]) -> None:
    if not dropped:
        return
    listed = ", ".join(f"{name} ({scale:.4g})" for name, scale in dropped.items())
    warnings.warn(
        f"the spectrum {type(spec.spectrum).__name__} cannot hold the scale of the weights and drops it: {listed}; "
        f"use Free() to keep it",
        UserWarning,
        stacklevel=4,
    )
