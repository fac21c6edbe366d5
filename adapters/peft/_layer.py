"""A layer with its changes, in the form that PEFT handles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast, final

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from ...layers import WeightShape
from .._adapted_layer import AdaptedLayer, Attachment, frozen_matrix
from .._adapter import Adapter
from .._change import Change, Product

# Exactly these: what a subclass computes, a quantized or a scaled one for instance, cannot be known.
KINDS: Final = (
    nn.Linear,
    nn.Embedding,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@final
class Pending(Change):
    """A change whose values are still to come from a file: PEFT makes layers first, and fills them afterwards."""

    @property
    def dimension(self) -> int:
        """That of nothing."""
        return 0

    def merged(self, weight: Tensor) -> Tensor:
        """Refuse."""
        raise ValueError("the adapter was made with low_cpu_mem_usage=True and has no values yet; load them")

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Refuse."""
        return self.merged(vectors)


@final
class ChangedLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc] # torch and PEFT define set_submodule-like names apart
    """A layer of torch.nn with changes by the names of PEFT's adapters; an :class:`~sttp.adapters.AdaptedLayer` computes.

    Attributes:
        base_layer: the layer, with the frozen weight W0 or, while it is merged, W(θ).
        weight_shape: how torch's weight becomes a matrix.
    """

    def __init__(self, base_layer: nn.Module, prefix: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.weight_shape = WeightShape.of(base_layer)
        name = f"{prefix}changes"
        self.add_module(name, nn.ModuleDict())
        self.adapter_layer_names = (name,)
        self.merged_adapters: list[str] = []
        self._frozen_names: dict[str, tuple[str, ...]] = {}
        self._original: Tensor | None = None  # W0 while the base is merged
        # In a tuple, so that layer and changes are part of this module once.
        self._adapted = (AdaptedLayer(base_layer, self.weight_shape, self.changes),)

    @property
    def changes(self) -> nn.ModuleDict:
        """The changes by the names of adapters."""
        return cast(nn.ModuleDict, getattr(self, self.adapter_layer_names[0]))

    @property
    def weight(self) -> Tensor:
        """W with the active changes: torch's own layers read it in place of calling this."""
        return self._switched().weight

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the base returns with the changed weight."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        return cast(Tensor, self._switched()(*args, **kwargs))

    def frozen(self) -> Tensor:
        """Return W0 as a matrix without gradient, float32 where it is of half precision."""
        if self._original is None:
            return frozen_matrix(self.base_layer, self.weight_shape)
        matrix = self.weight_shape.to_matrix(self._original)
        return matrix if matrix.dtype in (torch.float32, torch.float64) else matrix.to(torch.float32)

    def attach(self, name: str, change: Change, adapter: Adapter) -> None:
        """Set the change of an adapter. What it keeps frozen stays so."""
        self._adapted[0].attach(name, change, Attachment(adapter))
        self._frozen_names[name] = tuple(key for key, p in change.named_parameters() if not p.requires_grad)

    # --- what PEFT asks ---

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the base's weight.

        Raises:
            ValueError: with ``safe_merge`` the weight would not be finite, or the changes do not add up.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.changes]
        if not names:
            return
        self._adapted[0].require_together([*self.merged_adapters, *names])
        with torch.no_grad():
            matrix = self.frozen()
            for name in [*self.merged_adapters, *names]:
                matrix = cast(Change, self.changes[name]).merged(matrix)
            weight = self.base_layer.weight
            merged = self.weight_shape.to_weight(matrix).to(weight.dtype).contiguous()
        if safe_merge and not merged.isfinite().all():
            raise ValueError(f"merging {names} would give a weight that is not finite; the adapter seems broken")
        if self._original is None:
            self._original = weight.data
        weight.data = merged
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Give the base its weight back, to the last bit."""
        if self._original is not None:
            weight = self.base_layer.weight
            weight.data = self._original.to(weight.device, weight.dtype)
            self._original = None
        self.merged_adapters.clear()

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Return W(θ) − W0 in the shape of torch's weight."""
        change = cast(Change, self.changes[adapter_name])
        return self.weight_shape.to_weight(change.delta(self.frozen()))

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Return whether PEFT can turn a change of this layer into LoRA's."""
        return type(self.base_layer) is nn.Linear

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """Let adapters take part, and no others.

        Raises:
            ValueError: they cannot be summed.
        """
        self._adapted[0].require_together([adapter_names] if isinstance(adapter_names, str) else adapter_names)
        super().set_adapter(adapter_names, inference_mode)

    def delete_adapter(self, adapter_name: str) -> None:
        """Take the change of an adapter away."""
        super().delete_adapter(adapter_name)
        self._adapted[0].attachments.pop(adapter_name, None)
        self._frozen_names.pop(adapter_name, None)

    def _freeze_non_trainable_peft_weights(self, adapter_names: str | Sequence[str] | None = None) -> None:
        for name, keys in self._frozen_names.items():
            for key in keys:
                self.changes[name].get_parameter(key).requires_grad_(False)

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        # Not to its precision, as PEFT would: frames are float32 or float64.
        if adapter_name in self.changes:
            self.changes[adapter_name].to(self.base_layer.weight.device if device is None else device)

    def _switched(self) -> AdaptedLayer:
        adapted = self._adapted[0]
        off = self.disable_adapters or self.merged
        adapted.active = () if off else tuple(self._present(self.active_adapters))
        return adapted

    def _present(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name in self.changes]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            base = self.__dict__.get("_modules", {}).get("base_layer")
            if base is None or name.startswith("_"):
                raise
            return getattr(base, name)


def require_tunable(name: str, layer: nn.Module) -> None:
    """Refuse a layer that cannot be changed.

    Raises:
        TypeError: it is of a kind that has no change.
        ValueError: its weight is quantized.
    """
    weight = getattr(layer, "weight", None)
    origin = type(layer).__module__.partition(".")[0]
    if hasattr(weight, "quant_state") or origin in ("bitsandbytes", "torchao", "hqq", "auto_gptq", "gptqmodel", "awq"):
        _refuse_quantized(name, layer)
    if isinstance(weight, Tensor) and not weight.is_floating_point():
        _refuse_quantized(name, layer)
    if type(layer) not in KINDS:
        raise TypeError(
            f"layer {name!r} is a {type(layer).__name__}, which no adapter of sttp changes in PEFT; let target_modules "
            f"name {', '.join(kind.__name__ for kind in KINDS[:4])} and their like"
        )
    for option in ("max_norm", "sparse"):
        if getattr(layer, option, None):
            raise ValueError(
                f"layer {name!r} has {option}={getattr(layer, option)}, which no adapted weight can have; exclude it"
            )


def _refuse_quantized(name: str, layer: nn.Module) -> None:
    raise ValueError(
        f"layer {name!r} has a quantized weight ({type(layer).__name__}), in 8 or 4 bits for instance, which no adapter "
        f"of sttp changes; load the model in float32 or bfloat16, or exclude the layer"
    )
