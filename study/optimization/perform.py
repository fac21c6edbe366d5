"""Execution of one run in this process."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.flop_counter import FlopCounterMode

from ...optim import minimize
from ..optimizers import BuildOptimizer
from ..runs.perform import environment
from .contestants import METHODS
from .result import OptimizationResult, OptimizationTiming
from .run import OptimizationRun
from .trial import Trial, begin

# Gradient norm at which a method of minimize is done: the gap is then of the order of its square.
GRADIENT_TOLERANCE: Final = 1e-9
# A first step may set up state that later ones find: operations are counted in the steps after it.
COUNTED_STEPS: Final = 2


@final
@dataclass
class _Record:
    """The looks as they come."""

    steps: list[int] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    operations: list[int] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    diverged_at: int | None = None

    def look(self, trial: Trial, step: int, evaluations: int, operations: int, seconds: float) -> bool:
        """Add a look, or that the run has diverged; return whether it is well."""
        gap, error = trial.gap(), trial.orthogonality_error()
        if not (math.isfinite(gap) and math.isfinite(error)):
            self.diverged_at = step
            return False
        for column, value in (
            (self.steps, step),
            (self.evaluations, evaluations),
            (self.operations, operations),
        ):
            column.append(value)
        for series, number in ((self.gaps, gap), (self.errors, error), (self.seconds, seconds)):
            series.append(number)
        return True

    def result(self, run: OptimizationRun, reason: str | None) -> OptimizationResult:
        timing = OptimizationTiming(tuple(self.seconds), torch.get_num_threads())
        return OptimizationResult(
            run,
            tuple(self.steps),
            tuple(self.evaluations),
            tuple(self.operations),
            tuple(self.gaps),
            tuple(self.errors),
            self.diverged_at,
            reason,
            timing,
            environment(),
        )


def perform(run: OptimizationRun, build: BuildOptimizer | None) -> OptimizationResult:
    """Make a run; nothing is written, and torch's global generator is left alone.

    The outcome but for its timing depends on the run, the versions of the libraries and the number of torch's threads.

    Args:
        run: what to run.
        build: the optimizer; None for methods of ``minimize``.
    """
    with torch.random.fork_rng(devices=[]):
        return _minimize(run) if build is None else _step(run, build)


def _step(run: OptimizationRun, build: BuildOptimizer) -> OptimizationResult:
    assert run.learning_rate is not None
    record, seconds = _Record(), 0.0
    trial = begin(run.problem, run.setting, run.seed)
    record.look(trial, 0, 0, 0, 0.0)
    try:
        optimizer = build(trial.parameters, run.learning_rate)
    except ValueError as error:  # a search may try rates that an optimizer does not take
        record.diverged_at = 0
        return record.result(run, f"refused: {error}")
    operations = _operations_a_step(run, build)  # also warms up what the first run of a kind would be timed with
    schedule = LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / run.steps)) / 2)
    looks = {round(run.steps * k / run.looks) for k in range(1, run.looks + 1)}
    for step in range(1, run.steps + 1):
        start = time.perf_counter()
        well = _make_step(trial, optimizer)
        if well:
            schedule.step()
        seconds += time.perf_counter() - start
        if not well:
            record.diverged_at = step
            break
        if step in looks and not record.look(trial, step, step, step * operations, seconds):
            break
    return record.result(run, None)


def _make_step(trial: Trial, optimizer: Optimizer) -> bool:
    """Make one step; return whether the loss was finite."""
    loss = trial.loss()
    if not math.isfinite(loss.item()):
        return False
    optimizer.zero_grad()
    loss.backward()
    try:
        optimizer.step()
    except (LinAlgError, FloatingPointError):  # a finite loss with a gradient that is not
        return False
    return True


def _operations_a_step(run: OptimizationRun, build: BuildOptimizer) -> int:
    """Return the operations of the products of one step, with cost and gradient."""
    assert run.learning_rate is not None
    trial = begin(run.problem, run.setting, run.seed)
    optimizer = build(trial.parameters, run.learning_rate)
    _make_step(trial, optimizer)
    with FlopCounterMode(display=False) as counter:
        for _ in range(COUNTED_STEPS):
            _make_step(trial, optimizer)
    return int(counter.get_total_flops()) // COUNTED_STEPS


def _minimize(run: OptimizationRun) -> OptimizationResult:
    trial = begin(run.problem, run.setting, run.seed)
    record, looking = _Record(), [0.0]
    record.look(trial, 0, 0, 0, 0.0)

    def look(_: object) -> bool:
        """Look at an iterate; return whether the run is to end, because it has diverged."""
        start = time.perf_counter()
        well = record.look(trial, len(record.steps), 0, 0, 0.0)
        looking.append(looking[-1] + time.perf_counter() - start)
        return not well

    found = minimize(
        trial.loss,
        trial.parameters,
        METHODS[run.setting.optimizer],
        gradient_tolerance=GRADIENT_TOLERANCE,
        max_iterations=run.steps,
        callback=look,
    )
    history = found.history
    # The callback is not called at an iterate that ends the run for a reason of its own.
    if record.diverged_at is None and len(record.steps) < len(history.seconds):
        look(None)
    # An iterate at which the run has diverged is none of the looks. The time of a look counts after its iterate.
    count = len(record.steps)
    spent = [0.0, *looking]
    record.seconds = [float(history.seconds[k]) - spent[k] for k in range(count)]
    record.evaluations = (history.costs + history.hessian_products).tolist()[:count]
    record.operations = _operations_by_iteration(run, count)
    return record.result(run, str(found.reason))


def _operations_by_iteration(run: OptimizationRun, iterations: int) -> list[int]:
    """Return the operations up to each iterate, counted in a second run, which the counting slows down."""
    trial = begin(run.problem, run.setting, run.seed)
    counts = [0]
    with FlopCounterMode(display=False) as counter:
        minimize(
            trial.loss,
            trial.parameters,
            METHODS[run.setting.optimizer],
            gradient_tolerance=GRADIENT_TOLERANCE,
            max_iterations=run.steps,
            callback=lambda _: counts.append(int(counter.get_total_flops())),
        )
        counts.append(int(counter.get_total_flops()))
    return counts[:iterations]
