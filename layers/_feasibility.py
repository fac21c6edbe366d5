"""Frames that are off their manifold are refused where that would go unnoticed: in files, copies and reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import geoopt
import torch
from torch import Tensor

from ..manifolds import FrameManifold, declared_region, orthogonality_error, without_autocast
from ._manifold_parameters import can_carry_manifold

if TYPE_CHECKING:
    from ._spectral_weight import SpectralWeight

# Optimizers hold ‖XᵀX − I‖_F ≤ 1e-5 in float32, and a file changes no bit of that, also where it is read as float64:
# ten times as much is no rounding of float32. A Haar frame of 16 x 8 that was stored in float16 has 7e-4, in bfloat16
# 6e-3, and larger ones more.
TOLERANCE: Final = 1e-4

CAUSE: Final = "an optimizer that knows no manifolds, such as torch.optim.AdamW"
OPTIMIZERS: Final = (
    "train with sttp.optim.RiemannianAdam, with Retracted(torch.optim.AdamW, network.parameters()), or with any "
    "optimizer after sttp.layers.parametrized(network)"
)
CURE: Final = f"sttp.layers.repair(network) projects them; then {OPTIMIZERS}"


def require_feasible(weights: Mapping[str, SpectralWeight], *, exactly: bool = False) -> None:
    """Refuse weights that have frames off their manifolds.

    Frames without values, on the meta device, pass; so do those that another tool keeps in pieces.

    Args:
        weights: weights by the names of their layers.
        exactly: refuse also frames that their optimizer is known to keep near their manifold and not on it.

    Raises:
        ValueError: there is one; it names the worst layer.
    """
    worst, layer, region = 0.0, "", 0.0
    for name, weight in weights.items():
        frames = frames_on_manifolds(weight)
        # NaN counts as the worst, which max alone would not see.
        errors = orthogonality_errors(frames).nan_to_num(nan=torch.inf).tolist() if frames else []
        for frame, error in zip(frames, errors, strict=True):
            if error > worst and error > (TOLERANCE if exactly else limit(frame)):
                worst, layer, region = error, name, declared_region(frame)
    if not layer:
        return
    found = f"layer {layer!r} has frames off their manifold, ‖XᵀX − I‖_F = {worst:.2g} > {TOLERANCE:g}"
    if worst == torch.inf:
        raise ValueError(f"{found}: they have entries that are NaN or infinite; go back to an earlier state")
    if worst <= TOLERANCE + region:
        raise ValueError(
            f"{found}: their optimizer keeps them near it alone; sttp.layers.repair(network) projects them"
        )
    raise ValueError(f"{found}, most likely by {CAUSE}: {CURE}")


def frames_on_manifolds(weight: SpectralWeight) -> list[Tensor]:
    """Return the parameters of a weight that should be frames and have values to look at."""
    return [
        frame
        for frame, manifold in zip(weight.coordinates, weight.parameter_manifolds, strict=False)
        if isinstance(manifold, FrameManifold | geoopt.Stiefel) and can_carry_manifold(frame) and not frame.is_meta
    ]


def limit(frame: Tensor) -> float:
    """Return the largest ‖XᵀX − I‖_F that a frame may have in training."""
    return TOLERANCE + declared_region(frame)


@torch.no_grad()
def orthogonality_errors(frames: Sequence[Tensor]) -> Tensor:
    """Return ‖XᵀX − I‖_F of each frame, a float64 vector, by one batch for each shape.

    Args:
        frames: at least one; all on one device.
    """
    shapes: dict[torch.Size, list[int]] = {}
    for index, frame in enumerate(frames):
        shapes.setdefault(frame.shape, []).append(index)
    errors: list[Tensor | None] = [None] * len(frames)
    with without_autocast(frames[0]):
        for indices in shapes.values():
            batch = torch.stack([frames[index].detach() for index in indices])
            for index, error in zip(indices, orthogonality_error(batch).unbind(), strict=True):
                errors[index] = error
        return torch.stack([error for error in errors if error is not None])


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
        manifold = weight.parameter_manifolds[index]
        if manifold is None or not isinstance(incoming, Tensor):
            continue
        if assign and incoming.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"layer {layer!r}: assign=True would make {incoming.dtype} frames, which must be float32 or float64; "
                f"load without assign"
            )
        if can_carry_manifold(frame) and incoming.shape == frame.shape and not incoming.is_meta:
            worst = max(worst, error_of(manifold, incoming))
    if worst > TOLERANCE and weight.refuses_infeasible:
        errors.append(
            f"layer {layer!r} has frames off their manifold, ‖XᵀX − I‖_F = {worst:.2g} > {TOLERANCE:g}, by an edit, a "
            f"low precision, or training with {CAUSE}. Load another checkpoint, or project them, by "
            f"sttp.layers.repair(network), which has them after load_state_dict, or by load(..., repair=True) from a "
            f"folder; then {OPTIMIZERS}"
        )


def error_of(manifold: geoopt.Manifold, point: Tensor) -> float:
    """Return ‖XᵀX − I‖_F of a frame, and the distance to the nearest point of a manifold of another kind.

    It is infinite where entries are no numbers.
    """
    if not point.isfinite().all():
        return math.inf
    if isinstance(manifold, FrameManifold | geoopt.Stiefel):
        return float(orthogonality_error(point))
    exact = point.detach().to(torch.float64)
    return float(torch.linalg.vector_norm(manifold.projx(exact) - exact))
