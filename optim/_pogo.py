"""POGO: an adaptive step in the tangent space, and one Newton–Schulz step back."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import require_number
from ._frame_moments import adaptive_steps, begin_moments, bias_corrections, mean_squares, step_rates
from ._frame_optimizer import FrameOptimizer, ambient_gradient, rotation_field
from ._plain_steps import begin_adam, step_adam
from ._riemannian_optimizer import Parameters


@final
class POGO(FrameOptimizer):
    r"""POGO (Javaloy and Vergari 2026; arXiv:2602.14656) for frames, torch's Adam for plain parameters.

    With the Euclidean gradient G at X, and Adam with one v for the whole frame as base,

        m ← W(β₁ m + (1 − β₁) G) X,   v ← β₂ v + (1 − β₂) ‖G‖² / (n·p),
        M = X − ηR,   R = m̂ / (√v̂ + eps),   X ← M(3I − MᵀM)/2,

    where W(Z) = PZXᵀ − XZᵀP, P = I − ½XXᵀ, so that W(Z)X is the tangent projection of Z. As W is skew,
    MᵀM = XᵀX + η²RᵀR: singular values at least 1, which the cubic Newton–Schulz step (the source's λ = ½) brings back
    where ‖ηR‖₂ < √2. **The guard:** the step is shortened where ‖η²RᵀR‖_F, which MᵀM gives for nothing and which is at
    least ‖ηR‖₂², passes ``radius``². It departs from the source in that, in keeping m tangent, and in R, the projection
    (the Euclidean metric's gradient, or the canonical one's) instead of ½(GXᵀX − XGᵀX).

    The frame is kept **approximately**: one step leaves ‖XᵀX − I‖₂ = ¾‖ηR‖₂⁴, under 1e-6 for ‖ηR‖₂ < 0.03, 0.05 at
    the default radius, and the next step repairs it quadratically. Stiefel with both metrics, and Grassmann. In a step:
    7 products of n × p with p × p; 2 more for the canonical metric or on Grassmann.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate η.
        betas: decay rates β₁, β₂ of the two moments.
        eps: added to the denominator.
        weight_decay: L2 penalty of the plain parameters. On a frame it is normal to the manifold and enters v alone.
        radius: bound of ‖ηR‖₂, below √2.
        maximize: ascend.
        error_if_nonfinite: raise a RuntimeError at a gradient that is not finite, before anything has moved.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: a manifold parameter is no frame, is under the embedded metric, or has a precision below float32.
    """

    normalizes: ClassVar[bool] = True

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        radius: float = 0.5,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "radius": radius,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_number("radius", group["radius"], above=0.0, below=math.sqrt(2))  # where Newton–Schulz converges

    def _region(self, group: dict[str, Any]) -> float:
        # The Newton–Schulz step takes a growth a of XᵀX to a²(3 − a)/4, at most 9a/16 for a ≥ 0, and a is radius² of
        # the step and what the last one left: d ≤ 9/16·(d + radius²).
        return 9 / 7 * float(group["radius"]) ** 2

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        (begin_moments if isinstance(parameter, geoopt.ManifoldTensor) else begin_adam)(parameter, state)

    def _step_plain(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        step_adam(self, parameters, group)

    def _move(
        self,
        manifold: geoopt.Manifold,
        points: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        beta1, beta2 = group["betas"]
        count = state["count"] + 1
        second = torch.lerp(mean_squares(gradients), state["exp_avg_sq"], beta2)
        mixed = torch.lerp(ambient_gradient(manifold, points, gradients), state["exp_avg"], beta1)
        gram = points.mT @ points
        first = rotation_field(manifold, points, mixed, gram)
        rates = step_rates(second, bias_corrections(count, group["betas"], points), group)
        step = adaptive_steps(first, rates, group["betas"])
        moved = points + step
        growth = moved.mT @ moved - gram
        # The bound holds for ‖ηR‖₂², and shortening a step by a factor shortens its growth by the square.
        squared = (group["radius"] ** 2 / torch.linalg.matrix_norm(growth, keepdim=True)).clamp(max=1.0)
        moved = points + squared.sqrt() * step
        points = 1.5 * moved - 0.5 * (moved @ (gram + squared * growth))
        return points, {"exp_avg": first, "exp_avg_sq": second, "count": count}
