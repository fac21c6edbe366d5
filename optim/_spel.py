"""SPEL: spectral steepest descent by two matrix signs."""

from __future__ import annotations

from typing import Any, ClassVar, final

import geoopt
import torch
from torch import Tensor

from ._frame_optimizer import FrameOptimizer
from ._matrix_sign import matrix_sign
from ._plain_steps import begin_adam, step_adam
from ._riemannian_optimizer import Parameters
from ._spectral_steps import begin_momentum, polar_factor_between, require_spectral


@final
class SPEL(FrameOptimizer):
    r"""SPEL (Yang and Lai 2026; arXiv:2601.21487) for frames, torch's Adam for plain parameters.

    With the Riemannian gradient g at the frame X,

        m ← β₁ P_X(m) + (1 − β₁) g,   X ← msign(X − lr · msign(m)),

    the spectral-norm steepest descent direction of m, and the nearest frame. The step does not lie in the tangent
    space, nor does it shrink with the gradient: an iterate circles an optimum at a distance of about lr, so a schedule
    takes lr to zero. It departs from the source in m, the average of projected gradients, carried along by projection.

    XᵀX = I is kept to rounding: below 1e-6 in float32 for lr < 0.9. lr is the spectral norm of a step, an angle in
    radians. Stiefel with both metrics, and Grassmann. Products of n × p with p × p in a step: 4 for m, about 30 for its
    sign, and about 10 to return (:func:`~sttp.optim._matrix_sign.matrix_sign`).

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate, below 1 for frames.
        betas: β₁; and β₂ for plain parameters.
        eps: of torch's Adam for plain parameters.
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
        lr: float | Tensor = 1e-2,
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

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_spectral(group)

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        (begin_momentum if isinstance(parameter, geoopt.ManifoldTensor) else begin_adam)(parameter, state)

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
        gradients = manifold.egrad2rgrad(points, gradients)
        momentum = torch.lerp(gradients, manifold.proju(points, state["exp_avg"]), group["betas"][0])
        rate = group["lr"]
        # A step of norm lr in any direction leaves singular values in [1 − lr, 1 + lr].
        return polar_factor_between(points - rate * matrix_sign(momentum), 1 - rate, 1 + rate), {"exp_avg": momentum}
