"""Adam along Cayley curves."""

from __future__ import annotations

from typing import Any, ClassVar, final

import geoopt
import torch
from torch import Tensor

from ._frame_moments import adaptive_steps, begin_moments, bias_corrections, mean_squares, step_rates
from ._frame_optimizer import FrameOptimizer
from ._iterative_cayley import MOST_ITERATIONS, iterative_cayley, require_iterations
from ._plain_steps import begin_adam, step_adam
from ._riemannian_optimizer import Parameters


@final
class CayleyAdam(FrameOptimizer):
    r"""Cayley Adam (Li, Fuxin, Todorovic 2020, Algorithm 2; arXiv:2002.01113), torch's Adam for plain parameters.

    With the Euclidean gradient G and the Riemannian gradient g at the frame X, and one v for the whole frame,

        m ← β₁ P_X(m) + (1 − β₁) g,   v ← β₂ v + (1 − β₂) ‖G‖² / (n·p),
        X ← C_X(−min(lr, r/‖m‖_F) m/r),   r = (1 − β₁ᵗ)(√v̂ + eps),

    v̂ with Adam's bias correction, P_X the projection to the tangent space and C_X the Cayley transform by at most five
    fixed-point iterations (:func:`~sttp.optim._iterative_cayley.iterative_cayley`, which says how it departs from the
    source). As in the source v holds the whole Euclidean gradient, whose normal part does not vanish at an optimum:
    steps shrink there. It departs in the division by n·p, which gives the learning rate torch's meaning, in eps, which
    stands outside the root as in torch, and in g, the gradient of the manifold's metric, Stiefel or Grassmann.

    XᵀX = I is kept to rounding, as by :class:`~sttp.optim.CayleySGD`. Products of n × p with p × p in a step: 2 for g,
    2 for the momentum, 12 to move.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        betas: decay rates β₁, β₂ of the two moments.
        eps: added to the denominator.
        weight_decay: L2 penalty of the plain parameters. On a frame it is normal to the manifold and enters v alone.
        iterations: of the fixed point, 1 to 5.
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
        iterations: int = MOST_ITERATIONS,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "iterations": iterations,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_iterations(group["iterations"])

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
        first = torch.lerp(manifold.egrad2rgrad(points, gradients), manifold.proju(points, state["exp_avg"]), beta1)
        rates = step_rates(second, bias_corrections(count, group["betas"], points), group)
        points = iterative_cayley(points, adaptive_steps(first, rates, group["betas"]), group["iterations"])
        return points, {"exp_avg": first, "exp_avg_sq": second, "count": count}
