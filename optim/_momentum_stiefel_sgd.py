"""Descent on Stiefel with momentum that needs no transport."""

from __future__ import annotations

from typing import Any, final

import geoopt
from torch import Tensor

from ._frame_optimizer import FrameOptimizer
from ._magnitudes import shortened
from ._plain_steps import step_sgd
from ._riemannian_optimizer import Parameters
from ._stiefel_momentum import advance, longest_turn, outside, split_gradient


@final
class MomentumStiefelSGD(FrameOptimizer):
    r"""Momentum Stiefel SGD (Kong, Wang, Tao 2023, Algorithm 1; arXiv:2205.14173), torch's SGD for plain parameters.

    The momentum is XY + V with Y skew and XᵀV = 0, and the Riemannian gradient g = XY_g + V_g. With h = lr,

        Y ← μY − Y_g,   V ← μV − V_g,
        X ← X·R,  R = (I − ½hY)⁻¹(I + ½hY),   V ← VRᵀ under the Euclidean metric,
        X ← (X + hV)S,   V ← (V − hXVᵀV)S,   S = (I + h²VᵀV)^(−½),

    so the momentum is tangent after the step without a projection or a transport. Without gradients and with μ = 1 the
    motion is the geodesic of the manifold's metric, to first order in h, and ‖Y‖, ‖V‖ are kept exactly. It departs from
    the source in three places: VY enters as that rotation, with the factor −1 (Euclidean) or 0 (canonical) that the
    geodesic equation X'' + X X'ᵀX' = 0 and its canonical counterpart give, where the source has (3a − 2)/2 times VY, −¼
    at the canonical a = ½; V goes along by the rotation that moves X, which its S makes isometric; and rounding in XᵀV
    is projected away with V_g.

    XᵀX = I is kept to rounding: below 1e-6 in float32. Stiefel with both metrics; on Grassmann Y is zero. In a step: 13
    products of n × p with p × p, a p × p system, and an eigenvalue decomposition of p × p.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        momentum: μ.
        weight_decay: L2 penalty. It does nothing to a frame, being normal to the manifold.
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
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        if isinstance(parameter, geoopt.ManifoldTensor):
            state["outside"] = parameter.new_zeros(parameter.shape).as_subclass(Tensor)
            state["inside"] = state["outside"].new_zeros(*parameter.shape[:-2], *2 * parameter.shape[-1:])

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
        rate, momentum = group["lr"], group["momentum"]
        inside = momentum * state["inside"] - split_gradient(manifold, points, gradients)
        motion = outside(points, momentum * state["outside"] - gradients)
        turn, step = (shortened(rate * part, longest_turn(points.dtype)) for part in (inside, motion))
        points, motion = advance(manifold, points, turn, step, motion)
        return points, {"inside": inside, "outside": motion}
