"""Evaluate together what has one shape: all weights of one train in one batch, while a network's forward runs.

A network that went through :func:`~sttp.layers.reparameterize` carries two hooks. Before the forward they give every
spectral weight an evaluator; the first weight that is asked for its factors has all weights of its train evaluated in
one batch, and each takes its slice. After the forward, also one that raised, the slices are gone. A layer that is
called alone computes for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..manifolds import TrainPoint
from .spectral_weight import Factors, SpectralWeight, evaluate


class _Evaluator:
    """The factors of a set of weights, made once for each train and as long as nothing that they depend on changes."""

    def __init__(self, weights: list[SpectralWeight]) -> None:
        self._groups: dict[object, list[SpectralWeight]] = {}
        self._group_of: dict[int, list[SpectralWeight]] = {}
        self._slices: dict[int, tuple[object, Factors]] = {}
        for weight in weights:
            reference = weight.frames[0]
            group = self._groups.setdefault((weight.manifold, reference.dtype, reference.device), [])
            group.append(weight)
            self._group_of[id(weight)] = group

    def __call__(self, weight: SpectralWeight) -> Factors:
        state = _state(weight)
        found = self._slices.get(id(weight))
        if found is None or found[0] != state:
            group = self._group_of[id(weight)]
            for member, factors in zip(group, _evaluate_group(group), strict=True):
                self._slices[id(member)] = (_state(member), factors)
            found = self._slices[id(weight)]
        return found[1]


def _state(weight: SpectralWeight) -> object:
    """Return what the factors depend on: gradient mode, and which tensors in which version the parameters are."""
    tensors = [*weight.frames, *(() if weight.spectrum is None else (weight.spectrum,))]
    versions = tuple((id(t), -1 if t.is_inference() else t._version, t.requires_grad) for t in tensors)
    return (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), versions)


def _evaluate_group(group: list[SpectralWeight]) -> list[Factors]:
    manifold = group[0].manifold
    points = [weight.point for weight in group]
    if len(points) == 1:
        return [evaluate(manifold, points[0])]
    batched = evaluate(manifold, _stack(points))
    return [Factors(*factors) for factors in zip(*(tensor.unbind() for tensor in batched), strict=True)]


def _stack(points: list[TrainPoint]) -> TrainPoint:
    frames = tuple(torch.stack(frames) for frames in zip(*(point.frames for point in points), strict=True))
    signs = tuple(_stack_signs(signs) for signs in zip(*(point.signs for point in points), strict=True))
    return TrainPoint(frames, torch.stack([point.spectrum for point in points]), signs)


def _stack_signs(signs: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [sign for sign in signs if sign is not None]
    return torch.stack(present) if present else None


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
    count, through ``parameter.data``, is not seen.
    """
    weights = _begin(network)
    try:
        yield
    finally:
        _end(weights)


def attach(network: nn.Module) -> None:
    """Let each forward of the network evaluate its weights together; a network that already does is left as it is."""
    if _before_forward not in network._forward_pre_hooks.values():
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
        network.__dict__.setdefault("_sttp_evaluations", []).append(_begin(network))


def _after_forward(network: nn.Module, _: Any, __: Any) -> None:
    if evaluations := network.__dict__.get("_sttp_evaluations"):
        _end(evaluations.pop())
        if not evaluations:
            del network.__dict__["_sttp_evaluations"]
