"""The landing algorithm: no retraction, a pull to the manifold instead."""

from __future__ import annotations

from typing import Any, Final, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import require_number
from ._frame_optimizer import FrameOptimizer, rotation_field
from ._plain_steps import step_sgd
from ._riemannian_optimizer import Parameters

# Distance ‖XᵀX − I‖_F within which every step stays: the source's ε.
_REGION: Final = 0.5


@final
class Landing(FrameOptimizer):
    r"""The landing algorithm (Ablin, Vary, Gao, Absil 2024; arXiv:2303.16510), torch's SGD for plain parameters.

    With the Euclidean gradient G at X, and S = XᵀX,

        T = ½(GXᵀX − XGᵀX),   or with momentum   b ← μb + ½(GXᵀX − XGᵀX),   T = W(b)X,
        X ← X − η(T + λX(S − I)),   η = min(lr, η_safe, 1/(2λ)).

    W(b) = PbXᵀ − XbᵀP, P = I − ½XXᵀ, is skew, and at a frame W(b)X is the tangent projection of b; so T is (a skew
    matrix)·X with the momentum as without, all that the source's bound of the step uses. With d = ‖S − I‖_F and
    γ = ‖T + λX(S − I)‖_F, η_safe = (q + √(q² + ε − d))/γ, q = λd(1 − d)/γ, keeps every iterate within d ≤ ε = ½;
    in this form it is a large number, not 0/0, at a stationary point, and λ pulls on. A d beyond ε (a start off the
    manifold; it must be below 1) never grows. b adds up fields and not Euclidean gradients, whose sum on a linear cost
    is a longer step and no momentum.

    The frame is kept **approximately**: ‖XᵀX − I‖ ≈ lr·‖T‖²/(2λ) in training, and as near as rounding where T → 0.
    The field is the canonical metric's gradient halved, G − XGᵀX on frames, whichever metric the manifold has. On
    Grassmann G is made horizontal first. In a step: 5 products of n × p with p × p; 9 with momentum; 2 more on
    Grassmann, 4 with momentum.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        momentum: μ.
        weight_decay: L2 penalty. It does nothing to a frame: the field of X itself is zero.
        attraction: λ, the strength of the pull to the manifold, 1e-6 to 1e6.
        maximize: ascend.
        error_if_nonfinite: raise a RuntimeError at a gradient that is not finite, before anything has moved.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: a manifold parameter is no frame, is under the embedded metric, or has a precision below float32.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        *,
        attraction: float = 1.0,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "attraction": attraction,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _require_valid(self, group: dict[str, Any]) -> None:
        # Without attraction frames drift away; 1/(2λ) is a bound of the step.
        require_number("attraction", group["attraction"], least=1e-6, most=1e6)

    def _stage(self, state: dict[str, Any]) -> object:
        return "momentum_buffer" in state

    def _region(self, group: dict[str, Any]) -> float:
        return _REGION

    def _step_plain(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        step_sgd(self, parameters, group)

    def _move(
        self,
        manifold: geoopt.Manifold,
        points: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        attraction = group["attraction"]
        if manifold.is_quotient:
            gradients = manifold.proju(points, gradients)
        gram = points.mT @ points
        field = (gradients @ gram - points @ (gradients.mT @ points)) / 2
        buffer = field
        if "momentum_buffer" in state:
            buffer = group["momentum"] * state["momentum_buffer"] + field
            field = rotation_field(manifold, points, buffer, gram)
        excess = gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        total = field + attraction * (points @ excess)
        distance = torch.linalg.matrix_norm(excess, keepdim=True)
        speed = torch.linalg.matrix_norm(total, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny ** 0.5)
        pull = attraction * distance * (1 - distance).clamp(min=0) / speed
        safe = (pull + (pull.square() + (_REGION - distance).clamp(min=0)).sqrt()) / speed
        step = safe.clamp(max=1 / (2 * attraction)).clamp(max=group["lr"])
        return points - step * total, {"momentum_buffer": buffer} if group["momentum"] else {}
