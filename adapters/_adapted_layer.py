"""A layer with a frozen weight and the changes that adapters make of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..layers import Embedding, Linear, SpectralLayer, WeightShape
from ._adapter import Adapter
from ._change import Additive, Change, LowRank

HOOKS: Final = tuple(name for name in vars(nn.Module()) if "hook" in name and "state_dict" not in name)


@final
@dataclass(frozen=True, eq=False)
class Attachment:
    """One call of :func:`~sttp.adapters.adapt`: what the changes that it made have in common."""

    adapter: Adapter


@final
class AdaptedLayer(nn.Module):
    """A layer whose weight W0 is frozen, with the changes of it by name: it computes with those that are active.

    Everything else is the layer's: attributes, bias, hooks. Layers that share a weight share ``changes``.

    Attributes:
        base: the layer, a torch.nn one or a spectral one of :mod:`sttp.layers`.
        changes: the changes by name.
        attachments: what each comes from, by the same names.
        active: the names of the changes that take part, in order.
        weight_shape: how torch's weight becomes a matrix.
    """

    base: nn.Module
    changes: nn.ModuleDict

    def __init__(self, base: nn.Module, weight_shape: WeightShape, changes: nn.ModuleDict) -> None:
        super().__init__()
        self.base = base
        self.changes = changes
        self.weight_shape = weight_shape
        self.attachments: dict[str, Attachment] = {}
        self.active: tuple[str, ...] = ()
        self._unmerged: tuple[nn.Module, ...] = ()  # in a tuple, so that it is no part of the state
        self.__dict__.update({name: base.__dict__[name] for name in HOOKS})
        self._template = (template_of(base),)
        self.train(base.training)

    # --- the weight ---

    @property
    def weight(self) -> Tensor:
        """W in the shape of torch's weight, differentiable in the active changes."""
        weight, changes = cast(Tensor, self.base.weight), self._computing()
        return changed_weight(weight, self.weight_shape, changes) if changes else weight

    def matrix(self, names: Iterable[str] | None = None) -> Tensor:
        """Return W as a matrix ``(rows, columns)`` with some changes, by default the active ones, unmerged."""
        base = self._unmerged[0] if self._unmerged else self.base
        with torch.no_grad():
            matrix = frozen_matrix(base, self.weight_shape)
        for change in self._changes(self.active if names is None else names):
            matrix = change.merged(matrix)
        return matrix

    # --- what it computes ---

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the base returns with the changed weight."""
        return changed_output(self.base, self.weight_shape, self._template[0], self._computing(), *args, **kwargs)

    # --- which changes there are ---

    def attach(self, name: str, change: Change, attachment: Attachment) -> None:
        """Add a change, which is from now on the active one."""
        self.changes[name] = change
        self.attachments[name] = attachment
        self.active = (name,)

    def remove(self, name: str) -> None:
        """Take a change away."""
        if name in self.changes:  # layers that share a weight have taken it away together
            del self.changes[name]
        self.attachments.pop(name, None)
        self.active = tuple(other for other in self.active if other != name)

    def require_together(self, names: Iterable[str]) -> None:
        """Refuse changes that cannot be active together.

        Raises:
            ValueError: there are several, and one does not add to the weight.
        """
        require_addable(
            {name: self.changes[name] for name in names if name in self.changes},
            {name: type(attachment.adapter) for name, attachment in self.attachments.items()},
        )

    # --- merging ---

    @property
    def is_merged(self) -> bool:
        """Whether the base holds the changed weight, and the changes take no part."""
        return bool(self._unmerged)

    def merge_into(self, base: nn.Module) -> None:
        """Compute by another layer from now on, and keep the base for :meth:`unmerge`."""
        self._unmerged = (self.base,)
        self.base = base

    def unmerge(self) -> None:
        """Compute by the base and the changes again."""
        if self._unmerged:
            (self.base,) = self._unmerged
            self._unmerged = ()

    # --- what nn.Module asks ---

    def extra_repr(self) -> str:
        """Return the names of the active changes."""
        return f"active={', '.join(self.active) or 'none'}{', merged' if self.is_merged else ''}"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            base = self.__dict__.get("_modules", {}).get("base")
            if base is None or name.startswith("__"):
                raise
            return getattr(base, name)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> AdaptedLayer:
        for name, change in self.changes.items():  # before anything of the layer is converted
            owner = f"{name!r}, {type(self.attachments[name].adapter).__name__},"
            cast(Change, change).require_convertible(fn, owner)
        super()._apply(fn, recurse)
        for module in self._unmerged:
            module._apply(fn)
        return self

    def _computing(self) -> list[Change]:
        return [] if self._unmerged else self._changes(self.active)

    def _changes(self, names: Iterable[str]) -> list[Change]:
        return [cast(Change, self.changes[name]) for name in names if name in self.changes]


def changed_output(
    base: nn.Module, shape: WeightShape, template: nn.Module, changes: list[Change], *args: Any, **kwargs: Any
) -> Tensor:
    """Return what a layer returns with changes of its weight.

    Args:
        base: the layer, with its frozen weight.
        shape: how torch's weight becomes a matrix.
        template: :func:`template_of` the layer.
        changes: what changes the weight, in this order; all of them additive where there are several.
        *args: what the layer is called with.
        **kwargs: likewise.
    """
    if not changes:
        return cast(Tensor, base.forward(*args, **kwargs))
    input = args[0] if args else kwargs["input"]
    if isinstance(base, nn.Linear | Linear):
        return _linear(base, input, changes)
    if isinstance(base, nn.Embedding | Embedding) and all(isinstance(change, LowRank) for change in changes):
        return _embedding(base, input, cast(list[LowRank], changes))
    weight = changed_weight(cast(Tensor, base.weight), shape, changes)
    tensors = {"weight": weight, "bias": getattr(base, "bias", None)}
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return cast(Tensor, functional_call(template, given, args, kwargs))


def changed_weight(weight: Tensor, shape: WeightShape, changes: Iterable[Change]) -> Tensor:
    """Return a frozen weight with changes, in its shape and precision, differentiable in the changes."""
    matrix = exact_matrix(weight, shape)
    for change in changes:
        matrix = change.merged(matrix)
    return shape.to_weight(matrix).to(weight.dtype)


def require_addable(changes: Mapping[str, nn.Module], kinds: Mapping[str, type[Adapter]]) -> None:
    """Refuse changes of one weight, from adapters of some kinds, that cannot be active together.

    Raises:
        ValueError: there are several, and one does not add to the weight.
    """
    for name, change in changes.items():
        if len(changes) > 1 and not isinstance(change, Additive):
            raise ValueError(
                f"the adapters {list(changes)} cannot be active together: {name!r}, {kinds[name].__name__}, "
                f"does not add to the weight; switch to one of them, or merge one before the other is attached"
            )


def exact_matrix(weight: Tensor, shape: WeightShape) -> Tensor:
    """Return torch's weight as a matrix without gradient, float32 where it is of half precision."""
    matrix = shape.to_matrix(weight.detach())
    return matrix if matrix.dtype in (torch.float32, torch.float64) else matrix.to(torch.float32)


def frozen_matrix(layer: nn.Module, shape: WeightShape) -> Tensor:
    """Return the weight of a layer as a matrix without gradient, float32 where it is of half precision."""
    return exact_matrix(cast(Tensor, layer.weight), shape)


def _linear(base: nn.Linear | Linear, vectors: Tensor, changes: list[Change]) -> Tensor:
    if isinstance(changes[0], Additive):  # then all are, and what they add to may have the bias
        product: Callable[[Tensor], Tensor] = base.forward
        for change in changes:
            product = _after(change, product)
        return product(vectors)
    (change,) = changes
    output = cast(Tensor, change(vectors, partial(_base_product, base)))
    return output if base.bias is None else output + base.bias.to(output.dtype)


def _base_product(base: nn.Linear | Linear, vectors: Tensor) -> Tensor:
    if isinstance(base, nn.Linear):
        return F.linear(vectors, base.weight)
    output = base.forward(vectors)
    return output if base.bias is None else output - base.bias.to(output.dtype)


def _embedding(base: nn.Embedding | Embedding, indices: Tensor, changes: list[LowRank]) -> Tensor:
    output = base.forward(indices)
    for change in changes:
        left, right = change.factors()
        rows = F.embedding(indices, left, base.padding_idx)
        output = output + F.linear(rows, right).to(output.dtype)
    return output


def template_of(layer: nn.Module) -> nn.Module:
    """Return the torch.nn layer of a layer's kind and attributes, without values and hooks."""
    plain = layer.dense() if isinstance(layer, SpectralLayer) else layer
    twin = copy.copy(plain)
    fresh = vars(nn.Module())
    twin.__dict__.update({name: fresh[name] for name in HOOKS})
    twin.__dict__["_parameters"] = {
        name: None if parameter is None else nn.Parameter(torch.empty_like(parameter, device="meta"), False)
        for name, parameter in plain._parameters.items()
    }
    return twin


def with_weight(layer: nn.Module, weight: nn.Parameter) -> nn.Module:
    """Return the torch.nn layer of a layer's kind, attributes, hooks and bias with another weight."""
    twin = copy.copy(template_of(layer))
    twin.__dict__.update({name: layer.__dict__[name] for name in HOOKS})
    twin.__dict__["_parameters"] = {**twin._parameters, "weight": weight}
    if "bias" in twin._parameters:
        twin._parameters["bias"] = cast(nn.Parameter | None, layer.bias)
    return twin


def _after(change: Change, product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda vectors: cast(Tensor, change(vectors, product))
