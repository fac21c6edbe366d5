"""The one tuner of all configurations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
from geoopt import ManifoldTensor
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn

from ...layers import evaluate_apart, evaluate_together, spectral_weights
from .._adapt import checked_changes
from .._adapter import FrozenWeight
from ._base import require_base
from ._config import ChangeConfig
from ._layer import ChangedLayer, ChangedLinear, Pending
from ._tunable import require_tunable


@final
@dataclass(eq=False)
class _Injection:
    """What is on its way into a model: the layers, by their places, that an adapter is for."""

    adapter_name: str
    is_filled_later: bool
    layers: dict[str, ChangedLayer]


class ChangeTuner(BaseTuner):
    """Puts changes into a model: first layers without values, then the changes of all layers together.

    Subclasses are made by :func:`register_config` and say their prefix alone.
    """

    prefix: str
    tuner_layer_cls = ChangedLayer
    target_module_mapping: Final = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    _injection: _Injection | None = None

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Give the layers that the configuration names their changes; with an error, the model is what it was."""
        trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        active = [(module, module._active_adapter) for module in model.modules() if hasattr(module, "_active_adapter")]
        self._injection = _Injection(adapter_name, low_cpu_mem_usage or _parameters_stay_empty(), {})
        try:
            super().inject_adapter(model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage, state_dict)
        except Exception:
            for place, layer in self._injection.layers.items():
                layer.remove(adapter_name)
                if not layer.changes:
                    parent, _, leaf = place.rpartition(".")
                    setattr(model.get_submodule(parent), leaf, layer.base_layer)
            for parameter, requires_grad in trained:
                parameter.requires_grad_(requires_grad)
            for module, names in active:
                cast(Any, module)._active_adapter = names
            # PEFT has noted the configuration, where there is one already in its place.
            self.peft_config.pop(adapter_name, None)
            for layer in _changed_layers(model, adapter_name).values():
                self.peft_config[adapter_name] = layer.configs[adapter_name]
            raise
        finally:
            self._injection = None
        evaluate_together(model)

    def _create_and_replace(
        self,
        peft_config: ChangeConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        container = f"{self.prefix}changes"
        if not isinstance(target, ChangedLayer):
            require_tunable(current_key, target)
            kind = ChangedLinear if isinstance(target, nn.Linear) else ChangedLayer
            layer = kind(target, self.prefix)
            self._replace_module(parent, target_name, layer, target)
            target = layer
        elif target.adapter_layer_names != (container,):
            raise ValueError(
                f"layer {current_key!r} has adapters of another method already; call unload() or merge_and_unload() "
                f"first"
            )
        elif adapter_name in target.changes:
            raise ValueError(
                f"layer {current_key!r} has an adapter {adapter_name!r} already; delete it, or give another name"
            )
        target.attach(adapter_name, Pending(), peft_config)
        cast(_Injection, self._injection).layers[current_key] = target

    def _mark_only_adapters_as_trainable(self, model: nn.Module) -> None:
        # PEFT calls this when all layers are there, and before it wraps modules_to_save: a time to refuse.
        injection = cast(_Injection, self._injection)
        name, layers = injection.adapter_name, injection.layers
        _require_one_place(model, layers)
        weights = _weights(layers)
        # The digest is that of this model; the configuration that was passed may serve others.
        config = self.peft_config[name] = copy.copy(self.peft_config[name])
        config.base = require_base(config.base, weights)
        for layer in layers.values():
            layer.configs[name] = config
        if not injection.is_filled_later:
            _fill(layers, weights, config, name)
        super()._mark_only_adapters_as_trainable(model)
        for layer in layers.values():
            layer.set_requires_grad(name, name in layer.active_adapters and not config.inference_mode)

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Let adapters take part, and no others.

        Raises:
            ValueError: they cannot be summed. Nothing is changed then.
        """
        for layer in _changed_layers(self.model).values():
            layer.require_together([adapter_name] if isinstance(adapter_name, str) else adapter_name)
        super().set_adapter(adapter_name, inference_mode)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> nn.Module:
        model: nn.Module = super()._unload_and_optionally_merge(*args, **kwargs)
        if not spectral_weights(model):
            evaluate_apart(model)
        return model

    @contextmanager
    def _enable_peft_forward_hooks(self, *_: Any, adapter_names: Any = None, **__: Any) -> Iterator[None]:
        if adapter_names is not None:
            raise ValueError(
                "adapter_names= chooses an adapter for each sample, which no adapter of sttp can; call set_adapter, or "
                "merge or convert to LoRA"
            )
        yield

    # --- files ---

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: ChangeConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        layers = _changed_layers(model, adapter_name)
        if any(isinstance(layer.changes[adapter_name], Pending) for layer in layers.values()):
            raise ValueError(f"adapter {adapter_name!r} was made with low_cpu_mem_usage=True and has no values to save")
        found = super()._get_adapter_state_dict(model, config, adapter_name, state_dict, unwanted_adapter_names)
        repeated = _repeated(_state(layers, adapter_name))
        return {key: tensor for key, tensor in found.items() if key not in repeated}

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        layer, container, name = key.rpartition(f".{cls.prefix}changes.")
        if container and name.startswith(f"{adapter_name}."):
            return f"{layer}{container}{name.removeprefix(f'{adapter_name}.')}"
        return cast(str, super()._remove_adapter_name_from_key(key, adapter_name))

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: ChangeConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        layers = _changed_layers(model, adapter_name)
        pending = {place: layer for place, layer in layers.items() if isinstance(layer.changes[adapter_name], Pending)}
        if pending:
            _fill(pending, _weights(pending), config, adapter_name)
            for layer in pending.values():
                layer.set_requires_grad(adapter_name, not config.inference_mode)
        remapped: dict[str, Tensor] = super()._remap_adapter_state_dict_for_load(
            model, config, adapter_name, state_dict
        )
        own = _state(layers, adapter_name)
        for key, first in _repeated(own).items():
            if first in remapped:
                remapped[key] = remapped[first]
        for key, tensor in own.items():
            given = remapped.get(key)
            if given is None or given.shape != tensor.shape:
                continue  # PEFT and torch tell
            if isinstance(tensor, ManifoldTensor) and given.dtype.itemsize < 4:
                raise ValueError(
                    f"{key!r} is saved in {given.dtype}, in which no frame is orthogonal; save the adapter in float32"
                )
            if pending:
                # PEFT will put these tensors in the parameters' places. So that frames remain parameters on manifolds,
                # they are the parameters themselves.
                with torch.no_grad():
                    tensor.copy_(given)
                remapped[key] = tensor
        return remapped


def _fill(layers: dict[str, ChangedLayer], weights: list[FrozenWeight], config: ChangeConfig, name: str) -> None:
    """Give layers the changes of an adapter.

    Raises:
        ValueError: a weight does not fit, or a part of a change is called as an adapter is.
    """
    changes = checked_changes(config.adapter(), weights, None)
    parts = {part for change in changes for key in change.state_dict() for part in key.split(".")}
    for other in {other for layer in layers.values() for other in layer.changes}:
        if other in parts:
            # PEFT sorts saved tensors to adapters by such parts of their names.
            raise ValueError(f"{other!r} cannot be an adapter's name, since parts of adapters have it; give another")
    for layer, change in zip(layers.values(), changes, strict=True):
        layer.attach(name, change, config)


def _require_one_place(model: nn.Module, layers: dict[str, ChangedLayer]) -> None:
    """Refuse a layer that the model has in several places, of which PEFT finds the first alone.

    Raises:
        ValueError: there is one.
    """
    bases = {id(layer.base_layer): place for place, layer in layers.items()}
    for name, module in model.named_modules(remove_duplicate=False):
        if id(module) in bases and not isinstance(model.get_submodule(name.rpartition(".")[0]), ChangedLayer):
            raise ValueError(
                f"layer {bases[id(module)]!r} is layer {name!r} too, and PEFT gives adapters to one of them alone; "
                f"exclude it, or use sttp.adapters.adapt, which changes both"
            )


def _weights(layers: dict[str, ChangedLayer]) -> list[FrozenWeight]:
    return [FrozenWeight((place,), layer.weight_shape, layer.frozen()) for place, layer in layers.items()]


def _changed_layers(model: nn.Module, name: str | None = None) -> dict[str, ChangedLayer]:
    """Return the layers with changes, or with the change of an adapter, by their places."""
    return {
        place: layer
        for place, layer in model.named_modules()
        if isinstance(layer, ChangedLayer) and (name is None or name in layer.changes)
    }


def _state(layers: dict[str, ChangedLayer], name: str) -> dict[str, Tensor]:
    """Return the parameters and buffers of an adapter that are saved, by their keys in the model's state."""
    state: dict[str, Tensor] = {}
    for place, layer in layers.items():
        prefix = f"{place}.{layer.adapter_layer_names[0]}.{name}."
        layer.changes[name].state_dict(destination=state, prefix=prefix, keep_vars=True)
    return state


def _repeated(state: dict[str, Tensor]) -> dict[str, str]:
    """Return the key of its first place for every further place of a tensor that changes share."""
    first: dict[int, str] = {}
    places = {key: first.setdefault(id(tensor), key) for key, tensor in state.items()}
    return {key: place for key, place in places.items() if key != place}


def _parameters_stay_empty() -> bool:
    """Return whether PEFT has made parameters empty, as it does for ``low_cpu_mem_usage`` without telling tuners."""
    return nn.Linear(1, 1).weight.is_meta
