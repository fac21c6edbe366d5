"""The Cayley transform of a frame by fixed-point iteration, without a linear system."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ..manifolds import newton_schulz_polish, require_integer
from ._magnitudes import shortened

# ½‖W‖₂ up to which a step is taken as it is: the source's q.
CONTRACTION: Final = 0.5
MOST_ITERATIONS: Final = 5
# At the longest step allowed, five iterations leave ‖XᵀX − I‖₂ ≤ 2·2·0.5⁷: 0.03, 8e-4, 4e-7, 2e-13 after each polish.
_POLISHES: Final = {torch.float32: 2, torch.float64: 3}


def iterative_cayley(points: Tensor, steps: Tensor, iterations: int = MOST_ITERATIONS) -> Tensor:
    """Return the end of the Cayley curve from frames X along tangent steps Ξ, both ``(..., n, p)``.

    With W = PΞXᵀ − XΞᵀP, P = I − ½XXᵀ, the iteration is Y⁰ = X + WX, Yⁱ = X + ½W(X + Yⁱ⁻¹) (Li, Fuxin, Todorovic
    2020, Algorithm 1). It contracts by ½‖W‖₂, and as W is skew ‖W‖₂ ≤ ‖Ξ‖_F: a step with ‖Ξ‖_F > 1 is cut down to that.
    It departs from the source in its arithmetic: W = ABᵀ with A = [PΞ, X], B = [X, −PΞ], so that Yⁱ = X + Acⁱ with
    c⁰ = BᵀX, cⁱ = BᵀX + ½BᵀAcⁱ⁻¹, whose iterations are products of p columns, not n; and in two Newton–Schulz steps
    at the end, three in float64, without which the frame would keep what the iteration has left over.
    Twelve products of n × p with p × p, two more in float64, whatever the number of iterations.
    """
    width = points.shape[-1]
    steps = shortened(steps, 2 * CONTRACTION)
    half = steps - points @ (points.mT @ steps) / 2
    left = torch.cat((half, points), dim=-1)
    right = torch.cat((points, -half), dim=-1)
    system = right.mT @ left
    start = system[..., width:]
    coefficients = start
    for _ in range(iterations):
        coefficients = start + system @ coefficients / 2
    end = points + left @ coefficients
    for _ in range(_POLISHES[points.dtype]):
        end = newton_schulz_polish(end)
    return end


def require_iterations(iterations: int) -> None:
    """Refuse a number of iterations out of range.

    Raises:
        TypeError: it is no integer.
        ValueError: it is out of range.
    """
    require_integer("iterations", iterations)
    if not 1 <= iterations <= MOST_ITERATIONS:
        raise ValueError(
            f"iterations must be an integer from 1 to {MOST_ITERATIONS}, got {iterations}; for the exact transform use "
            f"RiemannianSGD or RiemannianAdam with Stiefel(retraction=Cayley())"
        )
