"""Stochastic gradient descent with momentum on manifolds."""

from __future__ import annotations

from typing import Any, final

import geoopt
from torch import Tensor

from ._plain_steps import step_sgd
from ._riemannian_optimizer import Parameters, RiemannianOptimizer


@final
class RiemannianSGD(RiemannianOptimizer):
    r"""Riemannian gradient descent with momentum (Bonnabel 2013) for manifold parameters, torch's SGD for all others.

    With the Riemannian gradient g at the point X, as in torch,

        b ← g at the first step, else μ b + (1 − dampening) g,   d = b, or g + μ b (Nesterov),
        X ← R_X(−lr · d),   b ← transport of b along that step.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        momentum: μ.
        dampening: reduces the gradient's share of the momentum.
        weight_decay: L2 penalty. On a Stiefel or Grassmann frame it does nothing, being normal to the manifold.
        nesterov: Nesterov's form; wants a momentum and no dampening.
        decoupled_weight_decay: shrink Euclidean parameters by 1 − lr · weight_decay in place of the penalty, as AdamW
            does (Loshchilov and Hutter 2019); all others are left alone.
        maximize: ascend.
        error_if_nonfinite: raise a RuntimeError at a gradient that is not finite, before anything has moved.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: a manifold parameter has a precision below float32.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _require_valid(self, group: dict[str, Any]) -> None:
        momentum, dampening = group["momentum"], group["dampening"]
        if group["nesterov"] and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov=True wants momentum > 0 and dampening = 0, got momentum={momentum}, dampening={dampening}"
            )

    def _stage(self, state: dict[str, Any]) -> object:
        return "momentum_buffer" in state

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
        gradients = manifold.egrad2rgrad(points, gradients)
        if not group["momentum"]:
            return manifold.retr(points, -group["lr"] * gradients), {}
        buffer = gradients
        if "momentum_buffer" in state:
            buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(gradients, alpha=1 - group["dampening"])
        direction = gradients + group["momentum"] * buffer if group["nesterov"] else buffer
        points, buffer = manifold.retr_transp(points, -group["lr"] * direction, buffer)
        return points, {"momentum_buffer": buffer}
