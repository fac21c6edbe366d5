"""Descent on random submanifolds: only a few rows, or a few random combinations of rows, turn at a step."""

from __future__ import annotations

from typing import Any, Final, Literal, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import haar_frame, identity_like, newton_schulz_polish, require_choice, require_integer
from ._frame_optimizer import FrameOptimizer
from ._magnitudes import shortened
from ._plain_steps import step_sgd
from ._riemannian_optimizer import Parameters

# Steps after which rounding is taken out of all rows.
_POLISH_EVERY: Final = 20
# ‖½ηΩ‖_F beyond which a step is cut down, in one plane a turn by 2·arctan(4/√2) = 141°: longer ones would only add the
# rounding of an ill-conditioned system.
_LONGEST: Final = 4.0
# Knuth's multiplier: neighbouring seeds and steps are to begin unrelated streams.
_MIX: Final = 6364136223846793005


@final
class RandomSubmanifoldDescent(FrameOptimizer):
    r"""Random submanifold descent (Han, Poirion, Takeda 2025; arXiv:2505.12378), torch's SGD for plain parameters.

    With r = min(size, n) rows P of a random orthogonal n × n matrix and the Euclidean gradient G at the frame X,

        Ω = ½(PG(PX)ᵀ − PX(PG)ᵀ),   Y = (I + ½ηΩ)⁻¹(I − ½ηΩ),   X ← X + Pᵀ(Y − I)PX.

    Ω is the gradient at Y = I of the cost over the r × r rotations that act on PX, and Y its Cayley step, where the
    authors' code takes the orthogonal factor of I − ηΩ by QR: both agree to first order in η, and the Cayley transform
    is a rotation at any η. Where ‖½ηΩ‖_F > 4 the step is cut down to that. ``sampling``:
    ``"permutation"`` draws r of the n rows, and a step costs 3 products of r × p with r × r and touches no other row;
    ``"haar"`` draws P uniformly, for a QR decomposition of n × r and 3 products of n × r with p columns. Neither needs
    a retraction of n × p. On Grassmann G is made horizontal first (two products of n × p with p × p).

    XᵀX is kept as it is, but for rounding, which a Newton–Schulz step on all rows takes out every 20 steps: below 1e-6
    in float32. It departs from the source in that, too. Every draw is made from ``seed`` and the number of steps that a
    parameter has made, so that a loaded state goes on to the last bit; frames of one shape share the draw, each having
    the source's distribution. The metric plays no part: it is that of the rotations. With r rows a step descends about
    r(r − 1)/(n(n − 1)) of what all rows would. No momentum, as in the source: steps live in different submanifolds.

    Args:
        params: parameters, named parameters or parameter groups, as in torch.
        lr: learning rate η.
        weight_decay: L2 penalty. It does nothing to a frame: XXᵀ is symmetric.
        size: r, at least 2.
        sampling: ``"permutation"`` or ``"haar"``.
        seed: of the draws.
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
        weight_decay: float = 0.0,
        *,
        size: int = 32,
        sampling: Literal["permutation", "haar"] = "permutation",
        seed: int = 0,
        maximize: bool = False,
        error_if_nonfinite: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "size": size,
            "sampling": sampling,
            "seed": seed,
            "maximize": maximize,
            "error_if_nonfinite": error_if_nonfinite,
        }
        super().__init__(params, defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, as in torch; the counts of steps, which the draws are made from, go to the CPU."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            if "step" in state:
                state["step"] = state["step"].cpu()

    def _require_valid(self, group: dict[str, Any]) -> None:
        require_integer("size", group["size"], least=2)  # a single row cannot turn
        require_choice("sampling", group["sampling"], ("permutation", "haar"))

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        if isinstance(parameter, geoopt.ManifoldTensor):
            state["step"] = torch.zeros((), dtype=torch.float32)  # on the CPU: nothing is read back from a GPU

    def _stage(self, state: dict[str, Any]) -> object:
        return int(state["step"]) if "step" in state else None

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
        step = int(state["step"][0])  # of all: _stage keeps other counts apart
        if manifold.is_quotient:
            gradients = manifold.proju(points, gradients)
        generator = torch.Generator(points.device).manual_seed((group["seed"] * _MIX + step) % 2**63)
        rows, size = points.shape[-2], min(group["size"], points.shape[-2])
        if group["sampling"] == "permutation":
            drawn = torch.randperm(rows, generator=generator, device=points.device)[:size]
            part = points.index_select(-2, drawn)
            change = _turn(part, gradients.index_select(-2, drawn), group["lr"]) - part
            points = points.index_add(-2, drawn, change)
        else:
            basis = haar_frame(rows, size, dtype=points.dtype, device=points.device, generator=generator)
            part = basis.mT @ points
            points = points + basis @ (_turn(part, basis.mT @ gradients, group["lr"]) - part)
        if (step + 1) % _POLISH_EVERY == 0:
            points = newton_schulz_polish(points)
        return points, {"step": state["step"] + 1}


def _turn(part: Tensor, gradient: Tensor, rate: float | Tensor) -> Tensor:
    """Return YPX for ``(..., r, p)`` rows PX and PG."""
    ambient = gradient @ part.mT
    half = shortened((ambient - ambient.mT) * (rate / 4), _LONGEST)
    identity = identity_like(half, half.shape[-1], half.shape[-1])
    # I + a skew matrix is never singular: the check, which reads back from the device, has nothing to find.
    return torch.linalg.solve_ex(identity + half, part - half @ part)[0]
