"""Adam on manifolds."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final, Literal, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import SHORT, FrameManifold, TrainMember, require_choice
from ._frame_moments import adaptive_steps, bias_corrections, longest_quotient, step_rates
from ._plain_steps import begin_adam, step_adam
from ._riemannian_optimizer import Parameters, RiemannianOptimizer

SecondMoment = Literal["entry", "frame"]
_SECOND_MOMENTS: Final = ("entry", "frame")


@final
class RiemannianAdam(RiemannianOptimizer):
    r"""Riemannian Adam (Bécigneul and Ganea 2019, Eq. 6) for manifold parameters, torch's Adam for all others.

    With the Riemannian gradient g at the point X, per frame and not per entry,

        m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) ⟨g, g⟩_X / (n·p),
        X ← R_X(−lr · m̂ / (√v̂ + eps)),   m ← transport of m along that step,

    m̂ and v̂ with Adam's bias correction. Division by the n·p entries gives the learning rate torch's meaning: an entry
    moves by about lr a step. It departs from the source in that, and takes the maximum over v (AMSGrad) only if asked.
    Under the embedded metric X is a whole weight, whose parameters share one v, and n·p the number of their entries.
    On each frame it costs the retraction, three products of the gradient and transport, and a scalar v.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate.
        betas: decay rates β₁, β₂ of the two moments.
        eps: added to the denominator.
        weight_decay: L2 penalty. On a Stiefel or Grassmann frame it does nothing, being normal to the manifold.
        amsgrad: take the largest v so far in place of v (Reddi, Kale, Kumar 2018).
        decoupled_weight_decay: shrink Euclidean parameters by 1 − lr · weight_decay in place of the penalty, as AdamW
            does (Loshchilov and Hutter 2019); all others are left alone.
        second_moment: ``"entry"`` as above, or ``"frame"`` without the division by n·p, which is geoopt's convention:
            then the whole frame moves by about lr.
        maximize: ascend.
        capturable: keep the step counts of plain parameters on their device, for CUDA graphs; those of manifold
            parameters always are. A learning rate that is to change in a graph is given as a tensor.
        error_if_nonfinite: raise a RuntimeError at a gradient that is not finite, before anything has moved.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: a manifold parameter has a precision below float32.
    """

    normalizes: ClassVar[bool] = True

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        second_moment: SecondMoment = "entry",
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        capturable: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "second_moment": second_moment,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, as in torch, which leaves step counts on the device that they were read to."""
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            if isinstance(parameter, geoopt.ManifoldTensor):
                state["step"] = state["step"].to(parameter.device)

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_choice("second_moment", group["second_moment"], _SECOND_MOMENTS)

    def _stage(self, state: dict[str, Any]) -> object:
        return "max_exp_avg_sq" in state

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        if not isinstance(parameter, geoopt.ManifoldTensor):
            begin_adam(parameter, state)
            return
        state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        # On the parameter's device: a step then reads nothing back from it.
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        if isinstance(parameter.manifold, TrainMember):  # one scalar for the train, kept with each parameter
            state["exp_avg_sq"] = parameter.new_zeros(1)
        else:
            state["exp_avg_sq"] = torch.zeros_like(parameter.manifold.component_inner(parameter, state["exp_avg"]))

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
        gradients = manifold.egrad2rgrad(points, gradients)
        squares = manifold.component_inner(points, gradients)
        if group["second_moment"] == "entry":
            squares = squares * (squares.numel() / points.numel())
        step = state["step"].add_(1)
        first = state["exp_avg"].mul_(beta1).add_(gradients, alpha=1 - beta1)
        largest = second = state["exp_avg_sq"].mul_(beta2).add_(squares, alpha=1 - beta2)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = largest = torch.maximum(state.get("max_exp_avg_sq", second), second)
        rates = step_rates(largest, bias_corrections(step, group["betas"], points), group)
        direction = adaptive_steps(first, rates, group["betas"])
        if isinstance(manifold, FrameManifold):
            entries = points.shape[-2] * points.shape[-1] if group["second_moment"] == "entry" else 1
            if self._is_long(group, entries):
                direction = manifold.proju(points, direction)
            short = self._is_short(group, entries)
            points, first = manifold.retr_transp(points, direction, first, short=short)
        else:
            points, first = manifold.retr_transp(points, direction, first)
        return points, {**state, "exp_avg": first}

    @staticmethod
    def _is_short(group: dict[str, Any], entries: int) -> bool:
        """Return whether no gradients whatever can make a frame's step long, without a look at any tensor.

        ‖m̂‖/√v̂ is bounded in the metric's norm, v taken without the division by the number of entries, and no norm of a
        tangent vector exceeds √2 times the metric's.
        """
        if isinstance(group["lr"], Tensor):
            return False
        return bool(group["lr"] * math.sqrt(2 * entries) * longest_quotient(group["betas"]) <= SHORT)

    @staticmethod
    def _is_long(group: dict[str, Any], entries: int) -> bool:
        """Return whether a step is as long as the frame's columns, about, where the moments agree.

        Where the gradient is no more than the rounding of its normal part, steps are no tangent vectors, since division
        by √v makes them as long as any: long ones could cost the frame its rank, and are projected once more.
        """
        return isinstance(group["lr"], Tensor) or bool(group["lr"] * math.sqrt(entries) >= 1)
