"""Evaluate together what has one shape: all frames and all equal trains in batches, while a network's forward runs.

A network that went through :func:`~sttp.layers.reparameterize` carries two hooks. Before the forward they give every
spectral weight an evaluator; the first weight that is asked for its frames has all frames evaluated in a few batches,
and the first that is asked for its factors those of all equal trains, and each takes its slice. After the forward,
also one that raised, the slices are gone. A layer that is called alone computes for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, final

import torch
from torch import Tensor, nn

from ..manifolds import frames_of_charts, without_autocast
from ._spectral_layer import SpectralLayer
from ._spectral_weight import (
    Factors,
    SpectralWeight,
    evaluate,
    evaluate_frames,
    product_of,
)
from ._watch import watch

T = TypeVar("T")


@final
class _Evaluator:
    """What a set of weights has in common, made together, and anew when something that it depends on has changed.

    Args:
        weights: the weights.
        lasting: whether many forwards are to be served.
    """

    def __init__(self, weights: list[SpectralWeight], lasting: bool) -> None:
        self._weights: Final = weights
        self._lasting: Final = lasting
        self._surroundings = _surroundings()
        self._frames: _Kept[list[Tensor]] = {}
        self._factors: _Kept[Factors] = {}
        self._matrices: _Kept[Tensor] = {}

    def keeps(self) -> bool:
        """Return whether what is made serves many forwards."""
        return self._lasting and not torch.is_grad_enabled() and _surroundings() == self._surroundings

    def frames(self, weight: SpectralWeight) -> list[Tensor]:
        """Return the frames of a weight, made with all others of its dtype and device."""
        if _surroundings() != self._surroundings:
            # Inside a checkpoint, forward or again in the backward: its layers must meet the same tensors both times.
            return evaluate_frames(weight)
        return _kept(self._frames, weight, lambda: self._beside(weight), _frames_together)

    def factors(self, weight: SpectralWeight) -> Factors:
        """Return the factors of a weight, made with those of all weights of its train."""
        if _surroundings() != self._surroundings:
            return evaluate(weight)
        return _kept(
            self._factors,
            weight,
            lambda: [member for member in self._beside(weight) if member.manifold == weight.manifold],
            self._factors_together,
        )

    def matrix(self, weight: SpectralWeight) -> Tensor:
        """Return W as a matrix; it is large, and kept for many forwards alone."""
        if not self._lasting or _surroundings() != self._surroundings:
            return product_of(self.factors(weight))
        return _kept(self._matrices, weight, lambda: [weight], lambda _: [product_of(self.factors(weight))])

    def _beside(self, weight: SpectralWeight) -> list[SpectralWeight]:
        """Return the weights with the dtype and on the device of one."""
        return [member for member in self._weights if _place(member) == _place(weight)]

    def _factors_together(self, weights: list[SpectralWeight]) -> list[Factors]:
        train, frames = weights[0].manifold, [self.frames(weight) for weight in weights]
        with without_autocast(frames[0][0]):
            if len(weights) == 1:
                return [Factors(*train.factors_of_frames(frames[0], weights[0].point.spectrum))]
            stacked = [torch.stack(column) for column in zip(*frames, strict=True)]
            spectra = torch.stack([weight.point.spectrum for weight in weights])
            batched = train.factors_of_frames(stacked, spectra)
            return [Factors(*slices) for slices in zip(*(tensor.unbind() for tensor in batched), strict=True)]


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


_Kept = dict[int, tuple[_State, T]]


def _kept(
    kept: _Kept[T],
    weight: SpectralWeight,
    members: Callable[[], list[SpectralWeight]],
    make: Callable[[list[SpectralWeight]], list[T]],
) -> T:
    """Return what is kept for a weight, made for all members anew where its parameters are no longer the same."""
    found = kept.get(id(weight))
    if found is None or not found[0].holds_for(weight):
        together = members()
        for member, value in zip(together, make(together), strict=True):
            kept[id(member)] = (_State(member), value)
        found = kept[id(weight)]
    return found[1]


def _place(weight: SpectralWeight) -> object:
    reference = weight.coordinates[0]
    return reference.dtype, reference.device


def _frames_together(weights: list[SpectralWeight]) -> list[list[Tensor]]:
    """Return the frames of each weight, made in one batch for each shape, whatever their trains."""
    watch(weights)
    points = [weight.point for weight in weights]
    charts = [chart for weight in weights for chart in weight.manifold.charts]
    coordinates = [frame for point in points for frame in point.coordinates]
    signs = [sign for point in points for sign in point.signs]
    with without_autocast(coordinates[0]):
        frames = iter(frames_of_charts(charts, coordinates, signs))
    return [[next(frames) for _ in weight.manifold.charts] for weight in weights]


def _begin(network: nn.Module, lasting: bool) -> list[SpectralWeight]:
    """Give an evaluator to all weights that have none, and return them."""
    weights = [m for m in network.modules() if isinstance(m, SpectralWeight) and m.evaluator is None]
    if weights:
        evaluator = _Evaluator(weights, lasting)
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
    weights = _begin(network, lasting=True)
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
        network.__dict__["_sttp_evaluated"] = _begin(network, lasting=False)


def _after_forward(network: nn.Module, *_: Any) -> None:
    _end(network.__dict__.pop("_sttp_evaluated", []))
