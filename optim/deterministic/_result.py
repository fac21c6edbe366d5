"""What a minimization returns: the reason why it stopped, the counts and the history."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray


@final
class Reason(enum.StrEnum):
    """Why a minimization stopped.

    ``GRADIENT``, ``STEP``: the norm fell below its tolerance. ``ITERATIONS``, ``TIME``: the budget was spent.
    ``CALLBACK``: the callback asked for it. ``STALLED``: rounding hides any further decrease, or there is none along
    the negative gradient, as where the gradient is wrong.
    """

    GRADIENT = "gradient tolerance"
    STEP = "step tolerance"
    ITERATIONS = "iterations"
    TIME = "time"
    CALLBACK = "callback"
    STALLED = "stalled"


@final
@dataclass(frozen=True)
class Evaluations:
    """How often the cost, its gradient and products with its Hessian were computed."""

    costs: int
    gradients: int
    hessian_products: int


@final
@dataclass(frozen=True, eq=False)
class History:
    """One entry an iteration, the first of them at the start.

    Attributes:
        cost: the cost.
        gradient_norm: norm of the Riemannian gradient.
        step: norm of the step that led there; 0 at the start and where a step was refused.
        seconds: since the beginning.
        costs: number of evaluations of the cost so far.
        gradients: number of gradients so far.
        hessian_products: number of Hessian products so far.
    """

    cost: NDArray[np.float64]
    gradient_norm: NDArray[np.float64]
    step: NDArray[np.float64]
    seconds: NDArray[np.float64]
    costs: NDArray[np.int64]
    gradients: NDArray[np.int64]
    hessian_products: NDArray[np.int64]


@final
@dataclass(frozen=True)
class MinimizeResult:
    """Where a minimization ended; the point itself is in the parameters.

    Attributes:
        cost: the cost there.
        gradient_norm: norm of the Riemannian gradient there.
        iterations: number of iterations.
        evaluations: counts over all iterations.
        seconds: duration.
        reason: why it stopped.
        history: the way there.
    """

    cost: float
    gradient_norm: float
    iterations: int
    evaluations: Evaluations
    seconds: float
    reason: Reason
    history: History

    @property
    def converged(self) -> bool:
        """Whether the gradient fell below its tolerance."""
        return self.reason is Reason.GRADIENT
