"""Stochastic gradient descent with momentum on manifolds."""

from __future__ import annotations

from typing import Any, final

import geoopt
from torch import Tensor
from torch.optim.sgd import sgd

from .riemannian_optimizer import Parameters, RiemannianOptimizer, require_nonnegative


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
        maximize: ascend.

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
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_nonnegative(**{name: group[name] for name in ("lr", "momentum", "weight_decay")})
        momentum, dampening = group["momentum"], group["dampening"]
        if group["nesterov"] and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov=True wants momentum > 0 and dampening = 0, got momentum={momentum}, dampening={dampening}"
            )

    def _stage(self, state: dict[str, Any]) -> object:
        return "momentum_buffer" in state

    def _step_plain(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        buffers = [self.state[parameter].get("momentum_buffer") for parameter in parameters]
        sgd(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            buffers,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
        )
        if group["momentum"]:
            for parameter, buffer in zip(parameters, buffers, strict=True):
                self.state[parameter]["momentum_buffer"] = buffer

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
            buffer = group["momentum"] * state["momentum_buffer"] + (1 - group["dampening"]) * gradients
        direction = gradients + group["momentum"] * buffer if group["nesterov"] else buffer
        points, buffer = manifold.retr_transp(points, -group["lr"] * direction, buffer)
        return points, {"momentum_buffer": buffer}
