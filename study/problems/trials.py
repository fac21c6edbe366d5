"""Runs on a problem: steps of an optimizer, or iterations of ``minimize``; and one step before the first run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.flop_counter import FlopCounterMode

from ...optim import MinimizeResult, minimize
from ..case import Run, Trial
from ..loop import RateRefusedError
from ..parts import MINIMIZERS, OPTIMIZERS, build_optimizer, made, options_of, require_step
from ..random_streams import seeded
from ..result import Look
from .case import ProblemCase
from .instance import Instance
from .problem import PROBLEMS

# Gradient norm at which a method of minimize is done: the gap is then of the order of its square.
GRADIENT_TOLERANCE: Final = 1e-9
# A first step may set up state that later ones find: operations are counted in the steps after it.
COUNTED_STEPS: Final = 2


@final
class Steps(Trial):
    """Steps of an optimizer."""

    def __init__(self, case: ProblemCase, run: Run) -> None:
        self._case, self._run = case, run
        self._instance = _begun(case, run.seed)
        self._optimizer: Optimizer | None = None
        self._operations: int | None = None
        self._seconds: dict[int, float] = {}

    @property
    def look_steps(self) -> Sequence[int]:
        """Equal distances."""
        return self._case.look_steps

    def step(self, step: int) -> Tensor:
        """Make a step."""
        if self._optimizer is None:
            self._optimizer = self._begin()
        start = time.perf_counter()
        loss = _make_step(self._instance, self._optimizer)
        if torch.isfinite(loss):
            self._schedule.step()
        self._seconds[step] = time.perf_counter() - start
        return loss

    def step_seconds(self, step: int) -> float | None:
        """Return the time of a step without what precedes the first."""
        return self._seconds.get(step)

    def look(self, step: int) -> Look:
        """Return gap, orthogonality error and what was computed for them."""
        if self._operations is None:
            # Before the first step, and so it also warms up what that would be timed with. Steps that are timed in
            # turns, where nobody looks, need no count.
            self._operations = _operations_a_step(self._case, self._run)
        return _look(self._instance, step, step, step * self._operations)

    def _begin(self) -> Optimizer:
        rate, case = self._run.learning_rate, self._case
        assert rate is not None
        try:
            optimizer = _built(case, self._instance, rate)
        except ValueError as error:  # a search may try rates that an optimizer does not take
            raise RateRefusedError(str(error)) from None
        self._schedule = LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / case.steps)) / 2)
        return optimizer


@final
class Iterations(Trial):
    """Iterations of a method of ``minimize``, which makes them all at once; the loop then goes through them."""

    def __init__(self, case: ProblemCase, run: Run) -> None:
        self._case, self._run = case, run
        self._instance = _begun(case, run.seed)
        self._looks: list[Look] = []
        self._seconds: list[float] = []
        self._costs: list[float] = []

    @property
    def look_steps(self) -> None:
        """Every iteration."""
        return None

    def step(self, step: int) -> float | None:
        """Return the cost before an iteration, as steps of an optimizer do; None after the last."""
        if not self._looks:
            self._minimize()
        return self._costs[step] if step + 1 < len(self._looks) else None

    def step_seconds(self, step: int) -> float:
        """Return the time of an iteration, without the looks."""
        return self._seconds[step]

    def look(self, step: int) -> Look:
        """Return what was seen after an iteration."""
        return self._looks[step] if self._looks else _look(self._instance, 0, 0, 0)

    def _minimize(self) -> None:
        looks, looking = [_look(self._instance, 0, 0, 0)], [0.0]

        def look(_: object) -> bool:
            """Look at an iterate; return whether the run is to end, because it has diverged."""
            start = time.perf_counter()
            looks.append(_look(self._instance, len(looks), 0, 0))
            looking.append(looking[-1] + time.perf_counter() - start)
            return not _is_well(looks[-1])

        found = _minimized(self._case, self._instance, look)
        history = found.history
        # The callback is not called at an iterate that ends the run for a reason of its own.
        if len(looks) < len(history.seconds) and _is_well(looks[-1]):
            look(None)
        # The time of a look counts after its iterate.
        spent = [0.0, *looking]
        seconds = [float(history.seconds[k]) - spent[k] for k in range(len(looks))]
        self._seconds = [after - before for before, after in pairwise(seconds)]
        evaluations = (history.costs + history.hessian_products).tolist()
        operations = self._operations()
        self._looks = [
            Look(k, {**look.measures, "evaluations": evaluations[k], "operations": operations[k]})
            for k, look in enumerate(looks)
        ]
        self._costs, self.reason = history.cost.tolist(), str(found.reason)

    def _operations(self) -> list[int]:
        """Return the operations up to each iterate, counted in a second run, which the counting slows down."""
        instance, counts = _begun(self._case, self._run.seed), [0]
        with FlopCounterMode(display=False) as counter:
            _minimized(self._case, instance, lambda _: counts.append(int(counter.get_total_flops())))
            counts.append(int(counter.get_total_flops()))
        return counts


def _begun(case: ProblemCase, seed: int) -> Instance:
    # A stock optimizer of torch may draw from the global generator, and nothing here should depend on who came before.
    torch.manual_seed(seed)
    return case.problem.begin(case.manifold_geometry, seed)


def _built(case: ProblemCase, instance: Instance, rate: float) -> Optimizer:
    return build_optimizer(case.optimizer, instance.parameters, rate, None, **options_of(case.options, "optimizer"))


def _minimized(case: ProblemCase, instance: Instance, callback: Any) -> MinimizeResult:
    return minimize(
        instance.loss,
        instance.parameters,
        made(MINIMIZERS, case.optimizer, **options_of(case.options, "method")),
        gradient_tolerance=GRADIENT_TOLERANCE,
        max_iterations=case.steps,
        callback=callback,
    )


def _look(instance: Instance, step: int, evaluations: int, operations: int) -> Look:
    gap, error = instance.gap(), instance.orthogonality_error()
    counts = {"evaluations": evaluations, "operations": operations}
    return Look(step, {"gap": gap, "orthogonality_error": error, **counts})


def _is_well(look: Look) -> bool:
    return all(value is None or math.isfinite(value) for value in look.measures.values())


def _make_step(instance: Instance, optimizer: Optimizer) -> Tensor:
    """Make one step; return the loss, after whose value nothing was done if it was not finite."""
    loss = instance.loss()
    if not math.isfinite(loss.item()):
        return loss.detach()
    optimizer.zero_grad()
    loss.backward()
    try:
        optimizer.step()
    except FloatingPointError as error:  # a finite loss with a gradient that is not
        raise LinAlgError(str(error)) from None
    return loss.detach()


def _operations_a_step(case: ProblemCase, run: Run) -> int:
    """Return the operations of the products of one step, with cost and gradient."""
    assert run.learning_rate is not None
    instance = _begun(case, run.seed)
    try:
        optimizer = _built(case, instance, run.learning_rate)
    except ValueError:  # a rate that is not taken, as the run itself will say
        return 0
    with suppress(LinAlgError):  # which the run itself will meet
        _make_step(instance, optimizer)
    with FlopCounterMode(display=False) as counter:
        for _ in range(COUNTED_STEPS):
            with suppress(LinAlgError):
                _make_step(instance, optimizer)
    return int(counter.get_total_flops()) // COUNTED_STEPS


def try_out(cases: Iterable[ProblemCase], seed: int) -> None:
    """Make one step on each problem of a user's, and with each optimizer of a user's."""
    tried = set()
    for case in cases:
        kind = str(json.loads(case.problem_json)["kind"])
        is_ours = (MINIMIZERS if case.minimizes else OPTIMIZERS).entry(case.optimizer).is_ours
        key = (case.problem_json, case.optimizer if not is_ours else "", case.options)
        if key in tried or (is_ours and PROBLEMS.entry(kind).is_ours):
            continue
        tried.add(key)
        with seeded(seed):
            try:
                instance = case.problem.begin(case.manifold_geometry, seed)
                loss = _tried_loss(instance)
            except Exception as error:  # a user's function may raise anything
                raise ValueError(
                    f"problem {case.problem_name!r} cannot be begun ({type(error).__name__}: {error})"
                ) from error
            if not case.minimizes and not is_ours:
                require_step(case.optimizer, instance.parameters, loss, None, **options_of(case.options, "optimizer"))


def _tried_loss(instance: Instance) -> Tensor:
    instance.gap()
    loss = instance.loss()
    if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad or not loss.isfinite():
        raise ValueError(f"its cost must be a tensor of one finite number with a gradient, got {loss!r}")
    return loss
