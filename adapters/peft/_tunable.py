"""Which layers PEFT may give changes to."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

# Exactly these: what a subclass computes, a quantized or a scaled one for instance, cannot be known.
KINDS: Final = (
    nn.Linear,
    nn.modules.linear.NonDynamicallyQuantizableLinear,  # the projection of torch's attention, which reads its weight
    nn.Embedding,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_QUANTIZERS: Final = ("bitsandbytes", "torchao", "hqq", "auto_gptq", "gptqmodel", "awq", "aqlm", "eetq", "quanto")
_PLAIN: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_tunable(name: str, layer: nn.Module) -> None:
    """Refuse a layer that cannot be changed.

    Raises:
        TypeError: it is of a kind that has no change.
        ValueError: its weight is quantized or no plain tensor, or one that an option of the layer changes.
    """
    weight = getattr(layer, "weight", None)
    kind = type(layer)
    if (
        any(part in _QUANTIZERS or "quantized" in part for part in kind.__module__.split("."))
        or any(hasattr(layer, values) for values in ("qweight", "W_q"))
        or (isinstance(weight, Tensor) and (hasattr(weight, "quant_state") or weight.dtype not in _PLAIN))
    ):
        raise ValueError(
            f"layer {name!r} has a quantized weight ({kind.__name__}), in 8 or 4 bits for instance, which no adapter "
            f"of sttp changes or merges into; load the model in float32 or bfloat16, or exclude the layer"
        )
    if kind not in KINDS:
        raise TypeError(
            f"layer {name!r} is a {kind.__name__}, which no adapter of sttp changes in PEFT; let target_modules name "
            f"layers of the kinds Linear, Embedding, Conv1d, Conv2d, Conv3d or ConvTranspose of torch.nn"
        )
    if isinstance(weight, nn.Parameter) and type(weight.data) is not Tensor:
        raise ValueError(
            f"layer {name!r} has a weight that is a {type(weight.data).__name__}, quantized or distributed, which no "
            f"adapter of sttp changes; load the model in float32 or bfloat16 on one device, or exclude the layer"
        )
    for option in ("max_norm", "sparse"):
        if getattr(layer, option, None):
            raise ValueError(
                f"layer {name!r} has {option}={getattr(layer, option)}, which no adapted weight can have; exclude it"
            )
