"""The subproblem of trust regions by truncated conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class ModelStep:
    """An approximate minimizer η of m(η) = ⟨g, η⟩ + ½⟨Hη, η⟩ in the ball ‖η‖ ≤ Δ.

    Attributes:
        step: η.
        hessian_step: Hη.
        at_boundary: whether ‖η‖ = Δ.
    """

    step: Tensor
    hessian_step: Tensor
    at_boundary: bool


def truncated_conjugate_gradient(
    gradient: Tensor,
    hessian: Callable[[Tensor], Tensor],
    inner: Callable[[Tensor, Tensor], Tensor],
    radius: float,
    precondition: Callable[[Tensor], Tensor] | None,
    kappa: float,
    theta: float,
    max_products: int,
    rounding: float,
) -> ModelStep:
    """Minimize a quadratic model in a ball by the method of Steihaug and Toint (Absil, Baker, Gallivan 2007, Alg. 2).

    Conjugate gradients from 0, stopped at the boundary, which they are sent to along a direction of negative
    curvature, or where ‖r‖ ≤ ‖g‖ min(‖g‖^θ, κ), or at the rounding of g. With a preconditioner P the ball is that of
    ‖η‖² = ⟨η, P⁻¹η⟩, which recurrences follow without P⁻¹ (Conn, Gould, Toint 2000, Sec. 7.5.1).

    Args:
        gradient: g, tangent to its own precision: a normal part never leaves the residual.
        hessian: the product with H.
        inner: the inner product.
        radius: Δ.
        precondition: the product with P, symmetric and positive definite; None for the identity.
        kappa: κ, the relative residual asked for far from a critical point.
        theta: θ, which makes the order of convergence min(1 + θ, 2).
        max_products: the most products with H.
        rounding: the norm of g's rounding error.
    """
    step, hessian_step = torch.zeros_like(gradient), torch.zeros_like(gradient)
    residual = gradient
    solved = residual if precondition is None else precondition(residual)
    residual_square = float(inner(residual, residual))
    product = residual_square if precondition is None else float(inner(residual, solved))
    norm = residual_square**0.5
    target = max(norm * min(norm**theta, kappa), rounding)
    direction = -solved
    # ‖η‖², ⟨η, d⟩ and ‖d‖² in the norm of P⁻¹
    step_square, step_direction, direction_square = 0.0, 0.0, product
    for _ in range(max_products):
        image = hessian(direction)
        bend = float(inner(direction, image))
        length = product / bend if bend > 0 else float("inf")
        new_square = step_square + 2 * length * step_direction + length**2 * direction_square
        if not new_square < radius**2:  # beyond the boundary, or without end
            reach = radius**2 - step_square
            root = (step_direction**2 + direction_square * reach) ** 0.5
            # Of the two forms of the root this one has no cancellation where ⟨η, d⟩ ≥ 0, as in exact arithmetic.
            length = reach / (step_direction + root) if step_direction + root > 0 else 0.0
            return ModelStep(step + length * direction, hessian_step + length * image, True)
        step, hessian_step = step + length * direction, hessian_step + length * image
        residual = residual + length * image
        residual_square = float(inner(residual, residual))
        if residual_square**0.5 <= target:
            break
        solved = residual if precondition is None else precondition(residual)
        last, product = product, residual_square if precondition is None else float(inner(residual, solved))
        share = product / last
        direction = share * direction - solved
        step_direction = share * (step_direction + length * direction_square)
        direction_square = product + share**2 * direction_square
        step_square = new_square
    return ModelStep(step, hessian_step, False)
