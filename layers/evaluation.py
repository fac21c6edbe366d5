"""Evaluate together what has one shape: all frames and all equal trains in batches, while a network's forward runs.

A network that went through :func:`~sttp.layers.reparameterize` carries two hooks. Before the forward they give every
spectral weight an evaluator; the first weight that is asked for its factors has all weights evaluated in a few batches,
and each takes its slice. After the forward, also one that raised, the slices are gone. A layer that is
called alone computes for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..manifolds import SpectralTensorTrain
from ..manifolds.frame_batches import frames_of_charts
from .spectral_layer import SpectralLayer
from .spectral_weight import Factors, SpectralWeight, evaluate, without_autocast


class _Evaluator:
    """The factors of a set of weights, made together, and anew when something that they depend on has changed."""

    def __init__(self, weights: list[SpectralWeight]) -> None:
        self._groups: dict[object, list[SpectralWeight]] = {}
        self._group_of: dict[int, list[SpectralWeight]] = {}
        self._slices: dict[int, tuple[_State, Factors]] = {}
        self._surroundings = _surroundings()
        for weight in weights:
            reference = weight.frames[0]
            group = self._groups.setdefault((reference.dtype, reference.device), [])
            group.append(weight)
            self._group_of[id(weight)] = group

    def __call__(self, weight: SpectralWeight) -> Factors:
        if _surroundings() != self._surroundings:
            # Inside a checkpoint, forward or again in the backward: its layers must meet the same tensors both times.
            return evaluate(weight.manifold, weight.point)
        found = self._slices.get(id(weight))
        if found is None or not found[0].holds_for(weight):
            group = self._group_of[id(weight)]
            for member, factors in zip(group, _evaluate_together(group), strict=True):
                self._slices[id(member)] = (_State(member), factors)
            found = self._slices[id(weight)]
        return found[1]


class _State:
    """What the factors of a weight depend on: gradient mode, and which tensors in which version the parameters are.

    The tensors themselves are kept: the id of one that is gone may be another's.
    """

    def __init__(self, weight: SpectralWeight) -> None:
        self._tensors = weight.ordered_parameters()
        self._values = self._read(self._tensors)

    def holds_for(self, weight: SpectralWeight) -> bool:
        tensors = weight.ordered_parameters()
        same = all(ours is theirs for ours, theirs in zip(self._tensors, tensors, strict=True))
        return same and self._values == self._read(tensors)

    @staticmethod
    def _read(tensors: tuple[nn.Parameter, ...]) -> object:
        versions = [(-1 if tensor.is_inference() else tensor._version, tensor.requires_grad) for tensor in tensors]
        return (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), versions)


def _surroundings() -> object:
    """Return which backward runs, and which hooks catch tensors saved for one; torch has no public names for these."""
    hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return torch._C._current_graph_task_id(), None if hooks is None else hooks(True)


def _evaluate_together(weights: list[SpectralWeight]) -> list[Factors]:
    """Return the factors of each weight: all frames first, whatever their train, then equal trains in one batch."""
    points = [weight.point for weight in weights]
    charts = [chart for weight in weights for chart in weight.manifold.charts]
    coordinates = [frame for point in points for frame in point.frames]
    signs = [sign for point in points for sign in point.signs]
    results: dict[int, Factors] = {}
    with without_autocast(coordinates[0]):
        frames = iter(frames_of_charts(charts, coordinates, signs))
        own = [[next(frames) for _ in weight.manifold.charts] for weight in weights]
        trains: dict[SpectralTensorTrain, list[int]] = {}
        for index, weight in enumerate(weights):
            trains.setdefault(weight.manifold, []).append(index)
        for train, members in trains.items():
            if len(members) == 1:
                results[members[0]] = Factors(*train.factors_of_frames(own[members[0]], points[members[0]].spectrum))
                continue
            stacked = [torch.stack(column) for column in zip(*(own[k] for k in members), strict=True)]
            spectra = torch.stack([points[k].spectrum for k in members])
            batched = train.factors_of_frames(stacked, spectra)
            for index, factors in zip(members, zip(*(x.unbind() for x in batched), strict=True), strict=True):
                results[index] = Factors(*factors)
    return [results[index] for index in range(len(weights))]


def _begin(network: nn.Module) -> list[SpectralWeight]:
    """Give an evaluator to all weights that have none, and return them."""
    weights = [m for m in network.modules() if isinstance(m, SpectralWeight) and m.evaluator is None]
    if weights:
        evaluator = _Evaluator(weights)
        for weight in weights:
            weight.evaluator = evaluator
    return weights


def _end(weights: list[SpectralWeight]) -> None:
    for weight in weights:
        weight.evaluator = None


@contextmanager
def shared_evaluation(network: nn.Module) -> Iterator[None]:
    """Make the weights of a network once for a whole block, for instance an evaluation loop under ``torch.no_grad()``.

    Weights are made again when a parameter changes or gradients are switched on or off. A change that torch does not
    count, through ``parameter.data``, is not seen. With gradients, the forwards of a block between two changes share
    one graph: add their losses and go backward once.
    """
    weights = _begin(network)
    try:
        yield
    finally:
        _end(weights)


def attach(network: nn.Module) -> None:
    """Let each forward of the network evaluate its weights together, unless it already does or is a single layer."""
    if not isinstance(network, SpectralLayer) and _before_forward not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_before_forward)
        network.register_forward_hook(_after_forward, always_call=True)


def detach(network: nn.Module) -> None:
    """Undo :func:`attach` on a network and everything in it."""
    for module in network.modules():
        for hooks, function in (
            (module._forward_pre_hooks, _before_forward),
            (module._forward_hooks, _after_forward),
        ):
            for key in [key for key, hook in hooks.items() if hook is function]:
                del hooks[key]
                module._forward_hooks_always_called.pop(key, None)


def _before_forward(network: nn.Module, _: Any) -> None:
    if not torch.compiler.is_compiling():  # a compiler batches for itself, and need not trace this
        _after_forward(network)  # what a KeyboardInterrupt left behind, after which torch runs no hooks
        network.__dict__["_sttp_evaluated"] = _begin(network)


def _after_forward(network: nn.Module, *_: Any) -> None:
    _end(network.__dict__.pop("_sttp_evaluated", []))
