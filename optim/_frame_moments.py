"""Adam's two moments of a frame: a tangent vector, and one number."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._riemannian_optimizer import require_nonnegative


def begin_moments(parameter: Tensor, state: dict[str, Any]) -> None:
    """Fill the state of frames ``(..., n, p)``: a tangent vector, a number for each frame, and a count of steps.

    All have the parameter's dtype and device, so that a loaded state follows the parameter.
    """
    state["exp_avg"] = torch.zeros_like(parameter.detach().as_subclass(Tensor), memory_format=torch.preserve_format)
    state["exp_avg_sq"] = state["exp_avg"].new_zeros(*parameter.shape[:-2], 1, 1)
    state["count"] = state["exp_avg"].new_zeros(())


def bias_corrections(count: Tensor, betas: tuple[float, float], points: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 − βᵗ for both β, to broadcast over stacked points ``(k, ...)`` with step counts t ``(k,)``."""
    exponents = count.to(points.dtype).reshape(-1, *(1,) * (points.dim() - 1))
    # Not 1 − βᵗ itself, which in float32 cancels in the first steps.
    first, second = (-torch.expm1(exponents * (math.log(beta) if beta else -math.inf)) for beta in betas)
    return first, second


def mean_squares(gradients: Tensor) -> Tensor:
    """Return ‖G‖²_F / (np), of shape ``(..., 1, 1)``."""
    return gradients.square().mean(dim=(-2, -1), keepdim=True)


def require_moments(group: dict[str, Any]) -> None:
    """Refuse Adam's hyperparameters where they are out of range.

    Raises:
        ValueError: one is.
    """
    require_nonnegative(**{name: group[name] for name in ("lr", "eps", "weight_decay")})
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas must lie in [0, 1), got {group['betas']}")
