"""Adam's two moments of a frame: a tangent vector, and one number."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..manifolds import longest_step


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


def step_rates(second: Tensor, corrections: tuple[Tensor, Tensor], group: dict[str, Any]) -> Tensor:
    """Return −lr / ((1 − β₁ᵗ)(√v̂ + eps)), by which a first moment makes a step, finite whatever v is.

    A learning rate beyond :func:`~sttp.manifolds.longest_step` counts as that, an eps below the numbers whose
    squares vanish as about these.
    """
    first, last = corrections
    return -relative_rate(group, second.dtype) / (first * ((second / last).sqrt() + positive_eps(group, second.dtype)))


def relative_rate(group: dict[str, Any], dtype: torch.dtype) -> float | Tensor:
    """Return the learning rate of steps that do not grow with the gradient, cut down to what a frame can use."""
    rate, most = group["lr"], longest_step(dtype)
    return rate.clamp(max=most) if isinstance(rate, Tensor) else min(rate, most)


def positive_eps(group: dict[str, Any], dtype: torch.dtype) -> float:
    """Return eps, or where that is smaller a number at which a quotient by it does not overflow."""
    return float(max(group["eps"], torch.finfo(dtype).tiny ** 0.4))


def adaptive_steps(first: Tensor, rates: Tensor, betas: tuple[float, float]) -> Tensor:
    """Return rates · m for a first moment and negative rates, finite whatever the gradients were.

    With β₁² < β₂ the quotient of the moments is bounded (see :func:`longest_quotient`). Else a second moment may have
    forgotten what the first one still holds, and the rates are cut down.
    """
    if math.isinf(longest_quotient(betas)):
        dims = (-2, -1) if first.dim() > 2 else (-1,)
        length = torch.linalg.vector_norm(first, dim=dims, keepdim=True)
        rates = torch.maximum(rates, -1 / (length * torch.finfo(first.dtype).eps))
    return first * rates


def longest_quotient(betas: tuple[float, float]) -> float:
    """Return a bound of ‖m̂‖/√v̂ for any gradients, infinite where there is none.

    It is (1 − β₁) / √((1 − β₁²/β₂)(1 − β₂)), by the Cauchy–Schwarz inequality, where v is of squared norms.
    """
    beta1, beta2 = betas
    if beta1 * beta1 >= beta2:
        return math.inf
    return (1 - beta1) / math.sqrt((1 - beta1 * beta1 / beta2) * (1 - beta2))
