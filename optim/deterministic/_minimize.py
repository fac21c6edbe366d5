"""Full-batch minimization over manifold and plain parameters."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from ...manifolds import (
    require_flag,
    require_function,
    require_instance,
    require_integer,
    require_number,
    without_autocast,
)
from ._method import Iterate, Method
from ._problem import Problem
from ._progress import ProgressLine
from ._result import History, MinimizeResult, Reason
from ._space import ParameterSpace
from ._trust_regions import TrustRegions

Callback = Callable[[Iterate], object]


def minimize(
    cost: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    method: Method | None = None,
    *,
    gradient_tolerance: float = 1e-6,
    step_tolerance: float = 0.0,
    max_iterations: int = 1000,
    max_seconds: float = math.inf,
    callback: Callback | None = None,
    progress: bool = False,
) -> MinimizeResult:
    """Move parameters, in place, to a minimum of a deterministic cost.

    A handful of numbers is read back from the device in each iteration, which is what the stopping rules and line
    searches go by: this is for full-batch problems, where an evaluation takes longer than that. ``.grad`` is neither
    read nor written. When the call ends, by an exception too, the parameters are at the last iterate. Autocast is off
    during the call: a cost in less precision has no digits left for a line search to go by.

    Args:
        cost: takes nothing and returns a scalar tensor computed from the parameters, the same whenever they are; a
            second-order method wants it twice differentiable.
        parameters: ``geoopt.ManifoldParameter`` on any manifold and plain parameters, all of one precision, float32 or
            float64, and on one device. Those that the cost does not use stay where they are.
        method: ``TrustRegions()`` (the default), ``LBFGS()``, ``ConjugateGradient()`` or ``SteepestDescent()``.
        gradient_tolerance: stop where the norm of the Riemannian gradient is at most this.
        step_tolerance: stop after a step of a norm below this.
        max_iterations: the most iterations.
        max_seconds: stop after the first iteration that ends later than this.
        callback: called with each new :class:`Iterate`, the parameters at its point; a true value ends the call.
        progress: show iteration, cost and gradient norm on the standard error.

    Raises:
        TypeError: the method is none, the cost no scalar, or a parameter no float32 or float64 tensor.
        ValueError: a tolerance is negative, the parameters do not fit together, the cost does not depend on them or is
            not finite at the start.
    """
    method = TrustRegions() if method is None else method
    require_function("cost", cost, "a function of nothing that returns a scalar tensor")
    require_instance("method", method, Method, "an object such as LBFGS() or TrustRegions()")
    if callback is not None:
        require_function("callback", callback, "a function of an Iterate")
    require_flag("progress", progress)
    limits = _Limits(gradient_tolerance, step_tolerance, max_iterations, max_seconds)
    space = ParameterSpace(parameters)
    with without_autocast(space.parameters[0]):
        return _descend(Problem(cost, space, method.second_order), method, limits, callback, progress)


@final
@dataclass(frozen=True)
class _Limits:
    """Where a minimization stops; as the arguments of the same names."""

    gradient_tolerance: float
    step_tolerance: float
    max_iterations: int
    max_seconds: float

    def __post_init__(self) -> None:
        for name in ("gradient_tolerance", "step_tolerance", "max_seconds"):
            value = getattr(self, name)
            if not (isinstance(value, float) and value == math.inf):
                require_number(name, value, least=0.0)
        require_integer("max_iterations", self.max_iterations, least=0)

    def reached(self, here: Iterate, record: _Record, is_asked: Callable[[], bool]) -> Reason | None:
        """Return why an iterate is the last, None where it is not."""
        if here.evaluation.gradient_norm <= self.gradient_tolerance:
            return Reason.GRADIENT
        if here.evaluation.gradient_is_rounding:
            return Reason.STALLED
        if 0 < here.step < self.step_tolerance:
            return Reason.STEP
        if record.iterations and is_asked():
            return Reason.CALLBACK
        if record.iterations >= self.max_iterations:
            return Reason.ITERATIONS
        return Reason.TIME if record.seconds >= self.max_seconds else None


def _descend(
    problem: Problem, method: Method, limits: _Limits, callback: Callback | None, progress: bool
) -> MinimizeResult:
    space, record = problem.space, _Record(problem)
    start = problem.evaluate(space.read())
    if not math.isfinite(start.cost):
        raise ValueError(f"cost must be finite at the start, got {start.cost}; begin elsewhere, or mend the cost")
    here = Iterate(start, 0.0)
    try:
        with ProgressLine() if progress else nullcontext() as line:
            if not math.isfinite(start.gradient_norm):
                raise ValueError(
                    f"the gradient of cost must be finite at the start, got a norm of {start.gradient_norm}; "
                    f"begin elsewhere, or mend the cost"
                )
            steps = method.iterates(problem, start)
            while True:
                problem.accept(here.evaluation)
                record.add(here)
                if line is not None:
                    line.show(record.iterations, here)
                reason = limits.reached(here, record, functools.partial(_asks_to_stop, callback, problem, here))
                if reason is not None:
                    break
                with torch.no_grad():
                    following = next(steps, None)
                if following is None:
                    reason = Reason.STALLED
                    break
                here = following
    finally:
        problem.leave()
        space.write(here.evaluation.point)
    return record.result(here, reason)


def _asks_to_stop(callback: Callback | None, problem: Problem, here: Iterate) -> bool:
    if callback is None:
        return False
    problem.settle(here.evaluation)
    return bool(callback(here))


@final
class _Record:
    """The history as it grows."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._begin = time.perf_counter()
        self._rows: list[tuple[float, ...]] = []

    @property
    def iterations(self) -> int:
        """Number of iterations, of which the start is none."""
        return len(self._rows) - 1

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begin

    def add(self, here: Iterate) -> None:
        """Add an iterate."""
        numbers = (here.evaluation.cost, here.evaluation.gradient_norm, here.step, self.seconds)
        counts = self._problem.evaluations  # the gradient's norm may have asked for the gradient
        self._rows.append((*numbers, counts.costs, counts.gradients, counts.hessian_products))

    def result(self, here: Iterate, reason: Reason) -> MinimizeResult:
        """Return the result."""
        columns = [np.array(column) for column in zip(*self._rows, strict=True)]
        return MinimizeResult(
            here.evaluation.cost,
            here.evaluation.gradient_norm,
            self.iterations,
            self._problem.evaluations,
            self.seconds,
            reason,
            History(*columns),
        )
