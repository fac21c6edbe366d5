"""A layer with a frozen weight and the changes that adapters make of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..layers import Embedding, Linear, SpectralLayer, WeightShape
from ._adapter import Adapter
from ._change import Additive, Change, LowRank

_HOOKS: Final = tuple(name for name in vars(nn.Module()) if "hook" in name and "state_dict" not in name)


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
        self.__dict__.update({name: base.__dict__[name] for name in _HOOKS})
        self._template = (template_of(base),)
        self.train(base.training)

    # --- the weight ---

    @property
    def weight(self) -> Tensor:
        """W in the shape of torch's weight, differentiable in the active changes."""
        if not self._computing():
            return cast(Tensor, self.base.weight)
        matrix = self.matrix()
        return self.weight_shape.to_weight(matrix).to(cast(Tensor, self.base.weight).dtype)

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
        changes = self._computing()
        if not changes:
            return self.base.forward(*args, **kwargs)
        input = args[0] if args else kwargs["input"]
        if isinstance(self.base, nn.Linear | Linear):
            return self._linear(input, changes)
        if isinstance(self.base, nn.Embedding | Embedding) and all(isinstance(change, LowRank) for change in changes):
            return self._embedding(input, cast(list[LowRank], changes))
        weights = {"weight": self.weight, "bias": getattr(self.base, "bias", None)}
        tensors = {name: tensor for name, tensor in weights.items() if tensor is not None}
        return cast(Tensor, functional_call(self._template[0], tensors, args, kwargs))

    def _linear(self, vectors: Tensor, changes: list[Change]) -> Tensor:
        product: Callable[[Tensor], Tensor] = self._base_product
        for change in changes[:-1]:  # all of them additive where there are several
            product = _after(change, product)
        output = changes[-1](vectors, product)
        bias = cast(Tensor | None, self.base.bias)
        return output if bias is None else output + bias.to(output.dtype)

    def _base_product(self, vectors: Tensor) -> Tensor:
        if isinstance(self.base, nn.Linear):
            return F.linear(vectors, self.base.weight)
        output = cast(Tensor, self.base.forward(vectors))
        bias = cast(Tensor | None, self.base.bias)
        return output if bias is None else output - bias.to(output.dtype)

    def _embedding(self, indices: Tensor, changes: list[LowRank]) -> Tensor:
        output = cast(Tensor, self.base.forward(indices))
        for change in changes:
            left, right = change.factors()
            rows = F.embedding(indices, left, cast(nn.Embedding, self.base).padding_idx)
            output = output + F.linear(rows, right).to(output.dtype)
        return output

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
        present = [name for name in names if name in self.changes]
        for name in present:
            if len(present) > 1 and not isinstance(self.changes[name], Additive):
                kind = type(self.attachments[name].adapter).__name__
                raise ValueError(
                    f"the adapters {present} cannot be active together: {name!r}, {kind}, does not add to the weight; "
                    f"switch to one of them, or merge one before the other is attached"
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


def frozen_matrix(layer: nn.Module, shape: WeightShape) -> Tensor:
    """Return the weight of a layer as a matrix without gradient, float32 where it is of half precision."""
    matrix = shape.to_matrix(cast(Tensor, layer.weight).detach())
    return matrix if matrix.dtype in (torch.float32, torch.float64) else matrix.to(torch.float32)


def template_of(layer: nn.Module) -> nn.Module:
    """Return the torch.nn layer of a layer's kind and attributes, without values and hooks."""
    plain = layer.dense() if isinstance(layer, SpectralLayer) else layer
    twin = copy.copy(plain)
    fresh = vars(nn.Module())
    twin.__dict__.update({name: fresh[name] for name in _HOOKS})
    twin.__dict__["_parameters"] = {
        name: None if parameter is None else nn.Parameter(torch.empty_like(parameter, device="meta"), False)
        for name, parameter in plain._parameters.items()
    }
    return twin


def with_weight(layer: nn.Module, weight: nn.Parameter) -> nn.Module:
    """Return the torch.nn layer of a layer's kind, attributes, hooks and bias with another weight."""
    twin = copy.copy(template_of(layer))
    twin.__dict__.update({name: layer.__dict__[name] for name in _HOOKS})
    twin.__dict__["_parameters"] = {**twin._parameters, "weight": weight}
    if "bias" in twin._parameters:
        twin._parameters["bias"] = cast(nn.Parameter | None, layer.bias)
    return twin


def _after(change: Change, product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda vectors: cast(Tensor, change(vectors, product))
