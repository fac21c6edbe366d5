"""The one tuner of all configurations."""

from __future__ import annotations

from typing import Any, Final

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn

from ...layers import evaluate_apart, evaluate_together, spectral_weights
from .._adapter import FrozenWeight
from ._config import ChangeConfig
from ._layer import ChangedLayer, Pending, require_tunable


class ChangeTuner(BaseTuner):
    """Puts changes into a model: first layers without values, then the changes of all layers together.

    Subclasses are made by :func:`register_config` and say their prefix alone.
    """

    prefix: str
    tuner_layer_cls = ChangedLayer
    target_module_mapping: Final = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

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
        try:
            super().inject_adapter(model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage, state_dict)
            if not low_cpu_mem_usage:
                _fill(model, self.peft_config[adapter_name], adapter_name)
        except Exception:
            _withdraw(model, adapter_name)
            for parameter, requires_grad in trained:
                parameter.requires_grad_(requires_grad)
            raise
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
        if not isinstance(target, ChangedLayer):
            require_tunable(current_key, target)
            layer = ChangedLayer(target, self.prefix)
            self._replace_module(parent, target_name, layer, target)
            target = layer
        target.attach(adapter_name, Pending(), peft_config.adapter())

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> nn.Module:
        model: nn.Module = super()._unload_and_optionally_merge(*args, **kwargs)
        if not spectral_weights(model):
            evaluate_apart(model)
        return model

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        layer, container, name = key.rpartition(f".{cls.prefix}changes.")
        if container and name.startswith(f"{adapter_name}."):
            return f"{layer}{container}{name.removeprefix(f'{adapter_name}.')}"
        return super()._remove_adapter_name_from_key(key, adapter_name)

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: ChangeConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        was_pending = _fill(model, config, adapter_name)
        remapped = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        if was_pending:
            # PEFT will put these tensors in the parameters' places. So that frames remain parameters on manifolds, they
            # are the parameters themselves.
            own = model.state_dict(keep_vars=True)
            for key, tensor in remapped.items():
                if f".{cls.prefix}changes.{adapter_name}." in key and key in own and own[key].shape == tensor.shape:
                    with torch.no_grad():
                        own[key].copy_(tensor)
                    remapped[key] = own[key]
        return remapped


def _fill(model: nn.Module, config: ChangeConfig, name: str) -> bool:
    """Make the changes of an adapter that are pending, and return whether there were any."""
    layers = {
        place: layer
        for place, layer in model.named_modules()
        if isinstance(layer, ChangedLayer) and name in layer.changes and isinstance(layer.changes[name], Pending)
    }
    if not layers:
        return False
    adapter = config.adapter()
    weights = [FrozenWeight((place,), layer.weight_shape, layer.frozen()) for place, layer in layers.items()]
    for layer, change in zip(layers.values(), adapter.changes(weights, None), strict=True):
        layer.attach(name, change, adapter)
        layer.set_requires_grad(name, name in layer.active_adapters and not config.inference_mode)
    return True


def _withdraw(model: nn.Module, name: str) -> None:
    """Take an adapter out of the layers of a model, and layers with no other one out of the model."""
    for place, layer in list(model.named_modules()):
        if isinstance(layer, ChangedLayer) and name in layer.changes:
            del layer.changes[name]
            if not layer.changes:
                parent, _, leaf = place.rpartition(".")
                setattr(model.get_submodule(parent), leaf, layer.base_layer)
