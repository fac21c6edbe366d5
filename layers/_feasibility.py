"""Frames that arrive off their manifold, from a file that was edited or rounded, are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from ..manifolds import orthogonality_error
from ._manifold_parameters import can_carry_manifold

if TYPE_CHECKING:
    from ._spectral_weight import SpectralWeight

# Optimizers hold ‖XᵀX − I‖_F ≤ 1e-5 in float32, and a file changes no bit of that, also where it is read as float64:
# ten times as much is no rounding of float32. A Haar frame of 16 x 8 that was stored in float16 has 7e-4, in bfloat16
# 6e-3, and larger ones more.
TOLERANCE: Final = 1e-4


def refuse_infeasible(
    weight: SpectralWeight,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    errors: list[str],
) -> None:
    """Add to the errors of ``load_state_dict`` the worst frame that it is about to load, if that is off its manifold.

    A pre-hook, since torch tells these alone which layer they are for.

    Raises:
        TypeError: ``assign=True`` would make parameters of a precision below float32.
    """
    layer = prefix.removesuffix(".").rpartition(".")[0]
    assign = local_metadata.get("assign_to_params_buffers", False)
    worst = 0.0
    for index, frame in enumerate(weight.coordinates):
        incoming = state_dict.get(f"{prefix}coordinates.{index}")
        if weight.parameter_manifolds[index] is None or not isinstance(incoming, Tensor):
            continue
        if assign and incoming.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"layer {layer!r}: assign=True would make {incoming.dtype} frames, which must be float32 or float64; "
                f"load without assign"
            )
        if can_carry_manifold(frame) and incoming.shape == frame.shape and not incoming.is_meta:
            # NaN counts as the worst, which max alone would not see.
            error = float(orthogonality_error(incoming).nan_to_num(nan=torch.inf))
            worst = max(worst, error)
    if worst > TOLERANCE and weight.refuses_infeasible:
        errors.append(
            f"layer {layer!r} has frames off their manifold, ‖XᵀX − I‖_F = {worst:.2g} > {TOLERANCE:g}, by an edit or "
            f"a low precision; they are loaded: sttp.layers.repair(network) projects them, or load another checkpoint"
        )
