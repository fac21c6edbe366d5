"""What the layers of a network are given on calibration data: the second moments of their inputs, in one pass.

For a linear layer C = Σ x xᵀ over all vectors x that it is given, for a convolution over the patches that its filter
meets, for an embedding the counts of its indices, a diagonal that belongs to its rows. Sums are kept in float64, and
nothing else of a batch is. The pass runs on a copy that shares all parameters with the network, in evaluation mode and
without gradients, in which torch's attention is opened, so that its projections are layers that are called.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from ..manifolds import InputMetric, described, require_instance
from ._attention import MultiheadAttention
from ._candidates import Candidate
from ._patches import input_vectors

_CURE: Final = "an iterable of batches: tensors, tuples of arguments or dicts of named ones, as the network takes them"


def require_calibration(calibration: object) -> None:
    """Refuse what cannot be calibration data.

    Raises:
        TypeError: it is no iterable, or a single tensor, whose rows would be taken for batches.
    """
    if isinstance(calibration, Tensor | str | Mapping):
        raise TypeError(f"calibration must be {_CURE}, got {described(calibration)}; put a single batch into a list")
    require_instance("calibration", calibration, Iterable, _CURE)


class _Reached(Exception):  # noqa: N818  # it is no error
    """All that a pass was for has been seen."""


@final
class Calibration:
    """A network's calibration data, and the copy of the network that they run through.

    Args:
        network: the network, which is not touched.
        candidates: the weights whose inputs are wanted.
        batches: the data.
    """

    def __init__(self, network: nn.Module, candidates: Sequence[Candidate], batches: Iterable[Any]) -> None:
        self._batches = batches
        self._candidates: Final = candidates
        self._calls: dict[int, int] = {}
        shared = {id(parameter): parameter for parameter in network.parameters()}
        self._copy: Final = _opened(copy.deepcopy(network, shared)).eval()

    def metrics(self) -> Iterator[InputMetric]:
        """Give the metric of the inputs of each candidate, after one pass over the data; none is kept once it is given.

        Raises:
            TypeError: a batch is neither a tensor nor arguments.
            ValueError: there is no batch, or the network refuses one, or a layer is given nothing, or inputs that are
                not finite.
        """
        moments = self._pass(range(len(self._candidates)))
        for index in range(len(self._candidates)):
            self._require_moment(index, moments.get(index))
        return (_metric(moments.pop(index)) for index in range(len(self._candidates)))

    def order(self) -> list[int]:
        """Return the candidates by when the first batch comes to them, and then those that it does not come to."""
        order = list(self._pass(range(len(self._candidates)), number=1))
        return [*order, *(index for index in range(len(self._candidates)) if index not in order)]

    def metric(self, index: int) -> InputMetric:
        """Return the metric of the inputs of one candidate, behind the weights that were replaced by now."""
        return _metric(self._require_moment(index, self._pass([index]).get(index)))

    def replace(self, index: int, weight: Tensor) -> None:
        """Let the layers of one candidate have another weight from now on."""
        candidate = self._candidates[index]
        for name in candidate.names:
            parts, rows = list(_plain_names(name, self._copy)), candidate.rows_of(name)
            whole = weight.detach() if rows is None else weight.detach()[slice(*rows)]
            for part, piece in zip(parts, whole.chunk(len(parts)), strict=True):
                layer = self._copy.get_submodule(part)
                own = piece.clone()
                if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
                    own[layer.padding_idx] = layer.weight[layer.padding_idx]
                layer.weight = nn.Parameter(own, requires_grad=False)

    def _pass(self, indices: Iterable[int], number: int | None = None) -> dict[int, Tensor]:
        """Return the sums of one pass, in the order in which the candidates were first called."""
        moments: dict[int, Tensor] = {}
        handles = []
        indices = list(indices)
        for index in indices:
            layers = {id(layer): layer for layer in self._layers(index)}
            stops = len(indices) == 1 and self._calls.get(index) == 1  # nothing else is to come
            for layer in layers.values():
                hook = partial(self._add, moments, index, stops)
                handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
        count = 0
        try:
            with torch.no_grad(), _slow_attention():
                for batch in self._batches:
                    self._run(count, batch)
                    count += 1
                    if count == number:
                        break
        finally:
            for handle in handles:
                handle.remove()
        if not count:
            raise ValueError("calibration has no batches; give some, in a list where they are to be read again")
        return moments

    def _run(self, number: int, batch: Any) -> None:
        arguments, named = _arguments(number, batch)
        try:
            self._copy(*arguments, **named)
        except _Reached:
            pass
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise ValueError(
                f"calibration has a batch, number {number}, that the network refuses "
                f"({type(error).__name__}: {error}); give {_CURE}"
            ) from error

    def _add(
        self,
        moments: dict[int, Tensor],
        index: int,
        stop: bool,
        layer: nn.Module,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> None:
        given = arguments[0] if arguments else next(iter(named.values()))
        self._calls[index] = self._calls.get(index, 0) + 1
        added = _second_moment(layer, given)
        known = moments.get(index)
        if known is None or known.dim() < added.dim():  # tied to an embedding: what linear layers are given counts
            moments[index] = added
        elif known.dim() == added.dim():
            known += added
        if stop:
            raise _Reached

    def _require_moment(self, index: int, moment: Tensor | None) -> Tensor:
        candidate = self._candidates[index]
        name = candidate.names[0]
        if moment is None:
            raise ValueError(f"calibration never comes to layer {name!r}, which the network does not call; skip it")
        if not moment.isfinite().all():
            raise ValueError(
                f"calibration gives layer {name!r} inputs that are NaN or infinite; look at the data and the weights"
            )
        return moment

    def _layers(self, index: int) -> list[nn.Module]:
        names = [part for name in self._candidates[index].names for part in _plain_names(name, self._copy)]
        return [self._copy.get_submodule(name) for name in names]


def _metric(moment: Tensor) -> InputMetric:
    return InputMetric.damped(moment, of_rows=moment.dim() == 1)


def _second_moment(layer: nn.Module, given: Tensor) -> Tensor:
    """Return Σ x xᵀ ``(columns, columns)`` of what a layer is called with, or the counts ``(rows,)`` of indices."""
    if isinstance(layer, nn.Embedding):
        counts = torch.bincount(given.reshape(-1), minlength=layer.num_embeddings).to(torch.float64)
        if layer.padding_idx is not None:
            counts[layer.padding_idx] = 0  # a fixed vector stands for this row
        return counts
    products = [vectors.mT @ vectors for vectors in (part.to(torch.float64) for part in input_vectors(layer, given))]
    return torch.stack(products).sum(dim=0) if len(products) > 1 else products[0]


def _plain_names(name: str, opened: nn.Module) -> Iterator[str]:
    """Give the names of the plain layers in an opened network that have the weight of a spectral layer to be."""
    owner, _, leaf = name.rpartition(".")
    if leaf == "in_proj" and isinstance(opened.get_submodule(owner), MultiheadAttention):
        yield from (f"{owner}.{part}" if owner else part for part in ("q_proj", "k_proj", "v_proj"))
    else:
        yield name


def _opened(network: nn.Module) -> nn.Module:
    """Put the form of attention that has layers in it in the places of torch's."""
    made: dict[int, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if type(module) is nn.MultiheadAttention:
            opened = made.setdefault(id(module), MultiheadAttention.of(module, joint=False))
            if not name:
                return opened
            owner, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(owner), leaf, opened)
    return network


def _arguments(number: int, batch: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, Mapping):
        return (), batch
    if isinstance(batch, tuple | list):
        return batch, {}
    raise TypeError(f"calibration must be {_CURE}, got number {number}, {described(batch)}")


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Keep torch's transformers from kernels that read the weights of layers and call none of them."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
