"""One way to solve a problem, and its run: steps of an optimizer, or iterations of ``minimize``."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Final, Self, cast, final

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.flop_counter import FlopCounterMode

from ...manifolds import Geometry, Metric, Riemannian
from ...optim import MinimizeResult, minimize
from .._plain import Plain, to_json
from ..case import Case, Run
from ..loop import RateRefusedError
from ..parts import GEOMETRIES, METHODS, RETRACTIONS, build_optimizer
from ..result import Look
from ..surroundings import Surroundings
from ..trial import Trial
from .problem import Instance, Problem, problem_of

# Gradient norm at which a method of minimize is done: the gap is then of the order of its square.
GRADIENT_TOLERANCE: Final = 1e-9
# A first step may set up state that later ones find: operations are counted in the steps after it.
COUNTED_STEPS: Final = 2


@final
@dataclass(frozen=True)
class ProblemCase(Case):
    """A problem, and one choice for each factor, by name.

    Attributes:
        problem_json: the problem's plain values, as JSON.
        optimizer: name of an optimizer that steps by a learning rate, from which it falls to 0 by a half cosine, or of
            a method of ``minimize``.
        retraction, metric, geometry: names; how frames are stored and moved.
        steps: number of steps, or the most iterations of a method.
        looks: how often the gap is read on the way, at equal distances, and once before; after each iteration of a
            method of ``minimize``.
    """

    kind: ClassVar[str] = "optimizers"
    problem_json: str
    optimizer: str
    retraction: str
    metric: str
    geometry: str
    steps: int
    looks: int

    @property
    def needs_rate(self) -> bool:
        """Whether the optimizer is none of the methods of ``minimize``."""
        return self.optimizer not in METHODS

    @property
    def setting(self) -> tuple[str, str, str, str]:
        """The choices, without the problem."""
        return self.optimizer, self.retraction, self.metric, self.geometry

    @cached_property
    def problem(self) -> Problem:
        """The problem.

        Raises:
            ValueError: it is of a kind that is not known in this process.
        """
        return _problem(self.problem_json)

    @property
    def manifold_geometry(self) -> Geometry:
        """The geometry with its metric and retraction."""
        geometry = GEOMETRIES[self.geometry]
        if isinstance(geometry, Riemannian):
            return Riemannian(geometry.redundant, cast(Metric, self.metric), RETRACTIONS[self.retraction])
        return geometry

    @property
    def title(self) -> str:
        """The setting, and the problem's values in short."""
        content = json.loads(self.problem_json)
        values = [f"{key} {_short(value)}" for key, value in content.items() if key not in ("kind", "seed")]
        return f"{setting_title(self.setting)} on {' '.join([content['kind'], ', '.join(values)])}"

    def to_dict(self) -> dict[str, Plain]:
        """Return all values as plain ones."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"problem": json.loads(values.pop("problem_json")), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; the problem need not be known."""
        content = dict(values)
        return cls(problem_json=to_json(content.pop("problem")).strip(), **content)

    def begin(self, run: Run, surroundings: Surroundings) -> Trial:
        """Return the trial of a run."""
        return Steps(self, run) if self.needs_rate else Iterations(self, run)


def setting_title(setting: Sequence[str]) -> str:
    """Return a setting in words: the optimizer, and what is not at its default."""
    defaults = (None, "qr", "euclidean", "stiefel")
    names = ("optimizer", "retraction", "metric", "geometry")
    others = [f"{name} {v}" for name, v, default in zip(names, setting, defaults, strict=True) if v != default][1:]
    return ", ".join([setting[0], *others])


@functools.lru_cache(maxsize=256)
def _problem(text: str) -> Problem:
    """Return the one problem of a text, which keeps its data and its optimum."""
    return problem_of(json.loads(text))


def _begun(case: ProblemCase, seed: int) -> Instance:
    # A stock optimizer of torch may draw from the global generator, and nothing here should depend on who came before.
    torch.manual_seed(seed)
    return case.problem.begin(case.manifold_geometry, seed)


@final
class Steps(Trial):
    """Steps of an optimizer on a problem."""

    def __init__(self, case: ProblemCase, run: Run) -> None:
        self._case, self._run = case, run
        self._instance = _begun(case, run.seed)
        self._optimizer: Optimizer | None = None
        self._operations = 0

    @property
    def look_steps(self) -> Sequence[int]:
        """Equal distances."""
        case = self._case
        return [round(case.steps * k / case.looks) for k in range(case.looks + 1)]

    def step(self, step: int) -> Tensor:
        """Make a step.

        Raises:
            RateRefusedError: the optimizer does not take the learning rate.
        """
        if self._optimizer is None:
            self._begin()
        assert self._optimizer is not None
        loss = _make_step(self._instance, self._optimizer)
        self._schedule.step()
        return loss

    def look(self, step: int) -> Look:
        """Return gap, orthogonality error and what was computed for them."""
        return _look(self._instance, step, step, step * self._operations)

    def _begin(self) -> None:
        rate, case = self._run.learning_rate, self._case
        assert rate is not None
        try:
            self._optimizer = build_optimizer(case.optimizer, self._instance.parameters, rate)
        except ValueError as error:  # a search may try rates that an optimizer does not take
            raise RateRefusedError(str(error)) from None
        # It also warms up what the first run of a kind would be timed with.
        self._operations = _operations_a_step(case, self._run)
        self._schedule = LambdaLR(self._optimizer, lambda step: (1 + math.cos(math.pi * step / case.steps)) / 2)


@final
class Iterations(Trial):
    """Iterations of a method of ``minimize``, which the first step makes all at once."""

    def __init__(self, case: ProblemCase, run: Run) -> None:
        self._case, self._run = case, run
        self._instance = _begun(case, run.seed)
        self._looks: list[Look] = []
        self._seconds: list[float] = []
        self._found: MinimizeResult | None = None

    @property
    def look_steps(self) -> None:
        """Every iteration."""
        return None

    def look(self, step: int) -> Look:
        """Return what was seen after an iteration."""
        return self._looks[step] if self._looks else _look(self._instance, 0, 0, 0)

    def step(self, step: int) -> float | None:
        """Return the cost after an iteration, None after the last."""
        if self._found is None:
            self._minimize()
        assert self._found is not None
        if step + 1 >= len(self._looks):
            self.reason = str(self._found.reason)
            return None
        return float(self._found.history.cost[step + 1])

    def step_seconds(self, step: int) -> float:
        """Return the time of an iteration, without the looks."""
        return self._seconds[step]

    def _minimize(self) -> None:
        looks, looking = [_look(self._instance, 0, 0, 0)], [0.0]

        def look(_: object) -> bool:
            """Look at an iterate; return whether the run is to end, because it has diverged."""
            start = time.perf_counter()
            looks.append(_look(self._instance, len(looks), 0, 0))
            looking.append(looking[-1] + time.perf_counter() - start)
            return not all(math.isfinite(value or 0.0) for value in looks[-1].measures.values())

        found = _minimized(self._case, self._instance, look)
        history = found.history
        # The callback is not called at an iterate that ends the run for a reason of its own.
        if len(looks) < len(history.seconds) and not math.isnan(looks[-1].measures["gap"] or 0.0):
            look(None)
        count = len(looks)
        spent = [0.0, *looking]
        seconds = [float(history.seconds[k]) - spent[k] for k in range(count)]
        self._seconds = [after - before for before, after in zip(seconds, seconds[1:], strict=False)]
        evaluations = (history.costs + history.hessian_products).tolist()
        operations = self._operations()
        self._looks = [
            Look(k, {**look.measures, "evaluations": evaluations[k], "operations": operations[k]})
            for k, look in enumerate(looks)
        ]
        self._found = found

    def _operations(self) -> list[int]:
        """Return the operations up to each iterate, counted in a second run, which the counting slows down."""
        instance, counts = _begun(self._case, self._run.seed), [0]
        with FlopCounterMode(display=False) as counter:
            _minimized(self._case, instance, lambda _: counts.append(int(counter.get_total_flops())))
            counts.append(int(counter.get_total_flops()))
        return counts


def _minimized(case: ProblemCase, instance: Instance, callback: Any) -> MinimizeResult:
    return minimize(
        instance.loss,
        instance.parameters,
        METHODS[case.optimizer],
        gradient_tolerance=GRADIENT_TOLERANCE,
        max_iterations=case.steps,
        callback=callback,
    )


def _look(instance: Instance, step: int, evaluations: int, operations: int) -> Look:
    gap, error = instance.gap(), instance.orthogonality_error()
    counts = {"evaluations": evaluations, "operations": operations}
    return Look(step, {"gap": gap, "orthogonality_error": error, **counts})


def _make_step(instance: Instance, optimizer: Optimizer) -> Tensor:
    """Make one step; return the loss, after whose value nothing was done if it was not finite."""
    loss = instance.loss()
    if not math.isfinite(loss.item()):
        return loss.detach()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    try:
        optimizer.step()
    except FloatingPointError as error:  # a finite loss with a gradient that is not
        raise LinAlgError(str(error)) from None
    return loss.detach()


def _operations_a_step(case: ProblemCase, run: Run) -> int:
    """Return the operations of the products of one step, with cost and gradient."""
    assert run.learning_rate is not None
    instance = _begun(case, run.seed)
    optimizer = build_optimizer(case.optimizer, instance.parameters, run.learning_rate)
    _make_step(instance, optimizer)
    with FlopCounterMode(display=False) as counter:
        for _ in range(COUNTED_STEPS):
            _make_step(instance, optimizer)
    return int(counter.get_total_flops()) // COUNTED_STEPS


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return "×".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
