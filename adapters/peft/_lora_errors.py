"""What PEFT's conversion to LoRA loses."""

from __future__ import annotations

import torch
from torch import nn

from ...manifolds import require_instance, require_integer
from ._layer import ChangedLayer


def lora_errors(model: nn.Module, rank: int, adapter_name: str = "default") -> dict[str, float]:
    """Return by layer what ``peft.convert_to_lora(model, rank)`` cuts off: ‖ΔW − ΔW_r‖_F / ‖ΔW‖_F, 0 where it is exact.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the model has no layer with this adapter.
    """
    require_instance("model", model, nn.Module, "a model of PEFT")
    require_integer("rank", rank, least=1)
    layers = {
        place: layer
        for place, layer in model.named_modules()
        if isinstance(layer, ChangedLayer) and adapter_name in layer.changes
    }
    if not layers:
        raise ValueError(f"model has no layer with an adapter {adapter_name!r} of sttp; give the name of one")
    errors = {}
    for place, layer in layers.items():
        with torch.no_grad():
            values = torch.linalg.svdvals(layer.weight_shape.to_matrix(layer.get_delta_weight(adapter_name)).double())
        whole = torch.linalg.norm(values)
        errors[place.removeprefix("base_model.model.")] = (
            float(torch.linalg.norm(values[rank:]) / whole) if whole > 0 else 0.0
        )
    return errors
