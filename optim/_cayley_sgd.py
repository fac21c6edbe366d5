"""Descent with momentum along Cayley curves."""

from __future__ import annotations

from typing import Any, final

import geoopt
from torch import Tensor

from ._frame_optimizer import FrameOptimizer
from ._iterative_cayley import MOST_ITERATIONS, iterative_cayley, require_iterations
from ._plain_steps import step_sgd
from ._riemannian_optimizer import Parameters


@final
class CayleySGD(FrameOptimizer):
    r"""Cayley SGD with momentum (Li, Fuxin, Todorovic 2020, Algorithm 1; arXiv:2002.01113), torch's SGD for the rest.

    With the Riemannian gradient g at the frame X,

        b ← μ P_X(b) + g,   X ← C_X(−min(lr, 1/‖b‖_F) b),

    P_X the projection to the tangent space, which carries the momentum along, and C_X the Cayley transform by at most
    five fixed-point iterations (:func:`~sttp.optim._iterative_cayley.iterative_cayley`, which says how it departs from
    the source). The source bounds the step by 2q/‖W‖ with q = ½, and this by the same with ‖W‖₂ ≤ ‖b‖_F. Its W is that
    of the Euclidean metric; here g is the gradient of whichever metric the manifold has, Stiefel or Grassmann.

    XᵀX = I is kept to rounding: below 1e-6 in float32 for five iterations; fewer leave 0.5^(iterations + 2) of a
    longest step before the polish. Products of n × p with p × p in a step: 2 for g, 2 for the momentum, 12 to move.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        momentum: μ.
        weight_decay: L2 penalty. It does nothing to a frame, being normal to the manifold.
        iterations: of the fixed point, 1 to 5.
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
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        iterations: int = MOST_ITERATIONS,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "iterations": iterations,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_iterations(group["iterations"])

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
        buffer = manifold.egrad2rgrad(points, gradients)
        if "momentum_buffer" in state:
            buffer = group["momentum"] * manifold.proju(points, state["momentum_buffer"]) + buffer
        points = iterative_cayley(points, -group["lr"] * buffer, group["iterations"])
        return points, {"momentum_buffer": buffer} if group["momentum"] else {}
