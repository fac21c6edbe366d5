"""A layer with its changes, in the form that PEFT handles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, cast, final

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from ...layers import WeightShape
from .._adapted_layer import HOOKS, changed_output, changed_weight, exact_matrix, require_addable, template_of
from .._change import Change, Product
from ._config import ChangeConfig


class ChangedLayer(nn.Module, BaseTunerLayer):
    """A layer of torch.nn with changes by the names of PEFT's adapters.

    Parameters of changes stay float32 or float64, and so on their manifolds, whatever the base is cast to.

    Attributes:
        base_layer: the layer, with the frozen weight W0 or, while it is merged, W(θ).
        weight_shape: how torch's weight becomes a matrix.
        configs: what the changes come from, by the same names.
    """

    def __init__(self, base_layer: nn.Module, prefix: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.weight_shape = WeightShape.of(base_layer)
        self.configs: dict[str, ChangeConfig] = {}
        container = f"{prefix}changes"
        self.add_module(container, nn.ModuleDict())
        self.adapter_layer_names = (container,)
        self.merged_adapters: list[str] = []
        self._untrained: dict[str, tuple[str, ...]] = {}
        # In tuples, so that they are no part of the state.
        self._unmerged: tuple[nn.Parameter, ...] = ()
        self._template = (template_of(base_layer),)
        self.__dict__.update({name: base_layer.__dict__[name] for name in HOOKS})
        self.train(base_layer.training)

    @property
    def changes(self) -> nn.ModuleDict:
        """The changes by the names of adapters."""
        return cast(nn.ModuleDict, getattr(self, self.adapter_layer_names[0]))

    @property
    def weight(self) -> Tensor:
        """W with the active changes: torch's own layers read it in place of calling this."""
        weight, changes = cast(Tensor, self.base_layer.weight), self._computing()
        return changed_weight(weight, self.weight_shape, changes) if changes else weight

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the base returns with the changed weight."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        changes = self._computing()
        return changed_output(self.base_layer, self.weight_shape, self._template[0], changes, *args, **kwargs)

    def frozen(self) -> Tensor:
        """Return W0 as a matrix without gradient, float32 where it is of half precision."""
        return exact_matrix(self._frozen_weight(), self.weight_shape)

    def attach(self, name: str, change: Change, config: ChangeConfig) -> None:
        """Set the change of an adapter. What it keeps frozen stays so."""
        self.changes[name] = change
        self.configs[name] = config
        self._untrained[name] = tuple(key for key, p in change.named_parameters() if not p.requires_grad)

    def remove(self, name: str) -> None:
        """Take the change of an adapter away."""
        del self.changes[name]
        del self.configs[name], self._untrained[name]

    def require_together(self, names: Iterable[str]) -> None:
        """Refuse adapters that cannot be active together.

        Raises:
            ValueError: there are several, and one does not add to the weight.
        """
        changes = {name: self.changes[name] for name in names if name in self.changes}
        require_addable(changes, {name: config.kind for name, config in self.configs.items()})

    # --- what PEFT asks ---

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the base's weight.

        Raises:
            ValueError: with ``safe_merge`` the weight would not be finite, or the changes do not add up.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.changes]
        if not names:
            return
        together = [*self.merged_adapters, *names]
        self.require_together(together)
        weight = self._frozen_weight()
        with torch.no_grad():
            merged = changed_weight(weight, self.weight_shape, self._of(together)).contiguous()
        if safe_merge and not merged.isfinite().all():
            raise ValueError(f"merging {names} would give a weight that is not finite; the adapter seems broken")
        # Not written into the weight, which may be that of another layer too, such as tied embeddings.
        self._unmerged = (weight,)
        self.base_layer.weight = nn.Parameter(merged, weight.requires_grad)
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Give the base its weight back, to the last bit."""
        if self._unmerged:
            (self.base_layer.weight,) = self._unmerged
            self._unmerged = ()
        self.merged_adapters.clear()

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Return W(θ) − W0 in the shape of torch's weight."""
        change = cast(Change, self.changes[adapter_name])
        return self.weight_shape.to_weight(change.delta(self.frozen()))

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Return whether PEFT can turn a change of this layer into LoRA's."""
        return isinstance(self.base_layer, nn.Linear)

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """Let adapters take part, and no others.

        Raises:
            ValueError: they cannot be summed.
        """
        self.require_together([adapter_names] if isinstance(adapter_names, str) else adapter_names)
        super().set_adapter(adapter_names, inference_mode)

    def delete_adapter(self, adapter_name: str) -> None:
        """Take the change of an adapter away."""
        self.configs.pop(adapter_name, None)
        self._untrained.pop(adapter_name, None)
        super().delete_adapter(adapter_name)

    def _freeze_non_trainable_peft_weights(self, adapter_names: str | Sequence[str] | None = None) -> None:
        for name, keys in self._untrained.items():
            for key in keys:
                self.changes[name].get_parameter(key).requires_grad_(False)

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        if adapter_name in self.changes:  # and not to its precision, as PEFT would
            self.changes[adapter_name].to(self._frozen_weight().device if device is None else device)

    # --- what nn.Module asks ---

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.base_layer._apply(fn, recurse)
        for weight in self._unmerged:
            weight.data = fn(weight.data)
        self.changes._apply(_in_own_precision(fn), recurse)
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            base = self.__dict__.get("_modules", {}).get("base_layer")
            if base is None or name.startswith("_"):
                raise
            return getattr(base, name)

    def _frozen_weight(self) -> nn.Parameter:
        return self._unmerged[0] if self._unmerged else cast(nn.Parameter, self.base_layer.weight)

    def _computing(self) -> list[Change]:
        return [] if self.disable_adapters or self.merged else self._of(self.active_adapters)

    def _of(self, names: Iterable[str]) -> list[Change]:
        return [cast(Change, self.changes[name]) for name in names if name in self.changes]


@final
class ChangedLinear(ChangedLayer):
    """That of a linear layer: ``target_modules="all-linear"`` goes by this word in the names of classes."""


@final
class Pending(Change):
    """A change whose values are still to come from a file: PEFT makes layers first, and fills them afterwards."""

    @property
    def dimension(self) -> int:
        """That of nothing."""
        return 0

    def merged(self, weight: Tensor) -> Tensor:
        """Refuse."""
        raise ValueError(
            "the adapter was made with low_cpu_mem_usage=True and has no values yet; load them, or leave this out"
        )

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Refuse."""
        return self.merged(vectors)


def _in_own_precision(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return what takes a tensor where ``fn`` does, but to no half precision."""

    def moved(tensor: Tensor) -> Tensor:
        there = fn(tensor)
        is_rounded = there.is_floating_point() and there.dtype.itemsize < 4
        return tensor.to(there.device) if is_rounded else there

    return moved
