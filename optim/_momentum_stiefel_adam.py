"""Adam on Stiefel with momentum that needs no transport."""

from __future__ import annotations

from typing import Any, ClassVar, final

import geoopt
import torch
from torch import Tensor

from ._frame_moments import bias_corrections, positive_eps, relative_rate
from ._frame_optimizer import FrameOptimizer
from ._magnitudes import shortened
from ._plain_steps import begin_adam, step_adam
from ._riemannian_optimizer import Parameters
from ._stiefel_momentum import advance, longest_turn, outside, split_gradient


@final
class MomentumStiefelAdam(FrameOptimizer):
    r"""Momentum Stiefel Adam (Kong, Wang, Tao 2023, Algorithm 2; arXiv:2205.14173), torch's Adam for the rest.

    The momentum is XY + V with Y skew and XᵀV = 0, as in :class:`~sttp.optim.MomentumStiefelSGD`, which says how the
    frame moves and where that departs from the source. With the Riemannian gradient XY_g + V_g, entry by entry,

        Y ← β₁Y − (1 − β₁)Y_g,   V ← β₁V − (1 − β₁)V_g,   q ← β₂q + (1 − β₂)Y_g²,   w ← β₂w + (1 − β₂)V_g²,
        then the frame turns by lr·Ŷ/(√q̂ + eps) and moves by lr·(I − XXᵀ)V̂/(√ŵ + eps),

    hats with Adam's bias correction, of V as well: the authors' code corrects Y, q and w alone, so that V moves a frame
    by 1 − β₁ᵗ of this in its first steps. q is symmetric, so what is divided by its root stays skew. Entry by entry the
    method depends on the coordinates, as Adam does.

    XᵀX = I is kept to rounding: below 1e-6 in float32. Stiefel with both metrics; on Grassmann Y is zero. In a step: 17
    products of n × p with p × p, a p × p system, and an eigenvalue decomposition of p × p.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        betas: decay rates β₁, β₂ of the two moments.
        eps: added to the denominators.
        weight_decay: L2 penalty. It does nothing to a frame, being normal to the manifold.
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
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        if not isinstance(parameter, geoopt.ManifoldTensor):
            begin_adam(parameter, state)
            return
        for name in ("outside", "outside_sq"):
            state[name] = parameter.new_zeros(parameter.shape).as_subclass(Tensor)
        for name in ("inside", "inside_sq"):
            state[name] = state["outside"].new_zeros(*parameter.shape[:-2], *2 * parameter.shape[-1:])
        state["count"] = state["outside"].new_zeros(())

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
        correction1, correction2 = bias_corrections(count, group["betas"], points)

        rate, eps = relative_rate(group, points.dtype), positive_eps(group, points.dtype)

        def moments(name: str, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            first = torch.lerp(-gradient, state[name], beta1)
            second = torch.lerp(gradient.square(), state[f"{name}_sq"], beta2)
            step = first * (rate / correction1) / ((second / correction2).sqrt() + eps)
            # Cut down before the projection, of which a long step would leave nothing but rounding: a momentum that was
            # carried along may stand where the second moment of its entry is small.
            return first, second, shortened(step, longest_turn(points.dtype))

        inside, inside_sq, turn = moments("inside", split_gradient(manifold, points, gradients))
        momentum, outside_sq, motion = moments("outside", outside(points, gradients))
        momentum, motion = outside(points, momentum), outside(points, motion)
        points, momentum = advance(manifold, points, turn, motion, momentum)
        state = {"inside": inside, "inside_sq": inside_sq, "outside": momentum, "outside_sq": outside_sq}
        return points, {**state, "count": count}
