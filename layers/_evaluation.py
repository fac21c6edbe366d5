"""Evaluate together what has one shape: all frames and all equal trains in batches, while a network's forward runs.

A network that went through :func:`~sttp.layers.reparameterize` carries two hooks. The one before the forward opens a
scope with an evaluator of all its spectral weights; the first weight that is asked for its frames has all frames
evaluated in a few batches, and the first that is asked for its factors those of all equal trains, and each takes its
slice. After the forward, also one that raised, the slices are gone. A layer that is called alone computes for itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeVar, final

import torch
from torch import Tensor, nn

from ..manifolds import frames_of_charts, without_autocast
from ._evaluation_scope import Scope, end_call, innermost
from ._spectral_layer import SpectralLayer
from ._spectral_weight import (
    Factors,
    SpectralWeight,
    evaluate,
    evaluate_frames,
    product_of,
    require_network,
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
        self._ids: Final = frozenset(map(id, weights))
        self._lasting: Final = lasting
        self._surroundings = _surroundings()
        self._frames: _Kept[list[Tensor]] = {}
        self._factors: _Kept[Factors] = {}
        self._matrices: _Kept[Tensor] = {}

    def serves(self, weight: SpectralWeight) -> bool:
        """Return whether a weight is among them."""
        return id(weight) in self._ids

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


# Which backward runs, and which hooks catch tensors saved for one. Torch has no public names for these.
_backward: Final = getattr(torch._C, "_current_graph_task_id", None)
_saving_hooks: Final = getattr(getattr(torch._C, "_autograd", None), "_top_saved_tensors_default_hooks", None)


def _surroundings() -> object:
    """Return what is another in a checkpoint. Where torch does not tell, with gradients it might always be another."""
    if _backward is None or _saving_hooks is None:
        return object() if torch.is_grad_enabled() else None
    return _backward(), _saving_hooks(True)


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


def _open_scope(network: nn.Module, call: FrameType | None) -> Scope:
    """Let all weights of a network that are not evaluated together yet be so, in a call of it or in a block."""
    outer = innermost()
    weights = [
        module
        for module in network.modules()
        if isinstance(module, SpectralWeight) and (outer is None or outer.evaluator_of(module) is None)
    ]
    return Scope(_Evaluator(weights, lasting=call is None) if weights else None, call, outer)


@contextmanager
def shared_evaluation(network: nn.Module) -> Iterator[None]:
    """Make the weights of a network once for a whole block, for instance an evaluation loop under ``torch.no_grad()``.

    Weights are made again when a parameter changes or gradients are switched on or off. A change that torch does not
    count, through ``parameter.data``, is not seen. With gradients, the forwards of a block between two changes share
    one graph: add their losses and go backward once.
    """
    require_network(network)
    scope = _open_scope(network, None)
    try:
        yield
    finally:
        scope.close()


def attach(network: nn.Module) -> None:
    """Let each forward of the network evaluate its weights together, unless it already does or is a single layer."""
    require_network(network)
    if not isinstance(network, SpectralLayer) and _before_forward not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_before_forward)
        network.register_forward_hook(_after_forward, always_call=True)


def detach(network: nn.Module) -> None:
    """Undo :func:`attach` on a network and everything in it."""
    require_network(network)
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
        _open_scope(network, sys._getframe(1))


def _after_forward(*_: Any) -> None:
    if not torch.compiler.is_compiling():
        end_call(sys._getframe(1))
