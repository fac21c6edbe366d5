"""Studies of optimizers: one factor at a time around a centre, on problems whose answer is known and on training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any, ClassVar, final

from ...manifolds import Householder, require_integer
from .._plain import Plain, require_known, to_json
from ..case import Run
from ..definition import Study
from ..design import Assignment, Design, OneAtATime
from ..kind import KINDS, Kind
from ..parts import EMBEDDED, GEOMETRIES, METHODS, METRICS, OPTIMIZERS, RETRACTIONS
from ..report.content import Content
from ..result import Result
from ..schedule import Results
from ..search import Bisection, Order, Strategy
from ..turns import Turn
from .case import ProblemCase
from .comparison import SOLVED, cost_to, shortfalls
from .problem import problem_of
from .report import content_of

# Gaps at which performance profiles are drawn, and costs are told in tables.
TOLERANCES = (1e-3, 1e-6)


@final
class OptimizersKind(Kind):
    """Every optimizer with a learning rate has the same number of runs to find one on each problem, from a start that is
    used for nothing else; then all run from all seeds.

    Factors are `problem`, `optimizer` (the short forms `optimizers` and `methods` are both lists of it), `retraction`,
    `metric` and `geometry`. The metric `embedded` comes with the geometry `grassmann`.
    """

    name: ClassVar[str] = "optimizers"
    case_type: ClassVar[type[ProblemCase]] = ProblemCase
    defaults: ClassVar[Mapping[str, Plain]] = {
        "optimizer": "riemannian-adam",
        "retraction": "qr",
        "metric": "euclidean",
        "geometry": "stiefel",
        "steps": 300,
        "training_steps": 100,
        "looks": 50,
        "training_looks": 10,
        "tolerances": TOLERANCES,
    }
    short_forms: ClassVar[Mapping[str, str]] = {
        "problems": "problem",
        "optimizers": "optimizer",
        "methods": "method",
        "retractions": "retraction",
        "metrics": "metric",
        "geometries": "geometry",
    }
    design: ClassVar[Design] = OneAtATime(crossed=("problem",))
    strategy: ClassVar[Strategy] = Bisection()

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys with a centre's own side by side, problems in full, and a seed to tune from."""
        filled = {"tuning_seed": 100, "seeds": [0, 1, 2], **values}
        centre = filled.pop("centre", {})
        if not isinstance(centre, Mapping):
            raise TypeError(f"centre must be a table such as {{optimizer = 'riemannian-sgd'}}, got {centre!r}")
        for key in centre:
            require_known("key of the centre", key, ("optimizer", "retraction", "metric", "geometry"))
        return {**filled, **centre}

    def case(self, values: Assignment) -> ProblemCase | None:
        """Return the case; None where the problem does not tell the geometry from another one."""
        chosen = dict(values)
        optimizer = str(chosen.get("method") or chosen["optimizer"])
        if optimizer not in METHODS:
            OPTIMIZERS.entry(optimizer, "optimizer")
        problem = problem_of(chosen["problem"])
        metric = require_known("metric", chosen["metric"], METRICS)
        geometry = "grassmann" if metric == EMBEDDED else str(chosen["geometry"])
        retraction = str(chosen["retraction"])
        RETRACTIONS.entry(retraction, "retraction")
        is_chart = isinstance(GEOMETRIES.entry(geometry, "geometry").thing, Householder)
        for name, default in (("retraction", "qr"), ("metric", "euclidean")):
            if is_chart and chosen[name] != default:
                raise ValueError(
                    f"{name} must be {default!r} with the geometry {geometry!r}, which has none, got {chosen[name]!r}"
                )
        prefix = "" if problem.is_known else "training_"
        for key in ("steps", "training_steps", "looks", "training_looks"):
            require_integer(key, chosen[key], least=1)
        steps, looks = int(chosen[f"{prefix}steps"]), int(chosen[f"{prefix}looks"])  # type: ignore[arg-type]
        text = to_json(problem.to_dict()).strip()
        case = ProblemCase(text, optimizer, retraction, metric, geometry, steps, min(looks, steps))
        if not case.needs_rate and not problem.is_deterministic:
            return None
        is_centre = all(chosen[name] == self._centre(values, name) for name in ("retraction", "metric", "geometry"))
        return case if is_centre or problem.distinguishes(case.manifold_geometry) else None

    @staticmethod
    def _centre(values: Assignment, name: str) -> Plain:
        centre = values.get("centre")
        return centre.get(name, values[name]) if isinstance(centre, Mapping) else values[name]

    def order(self, result: Result) -> Order:
        """Return the shortfall at the end, then its mean logarithm, both with their signs turned."""
        if result.diverged:
            return (-math.inf, -math.inf)
        gaps = shortfalls(result)
        return (-max(gaps[-1], SOLVED), -statistics.fmean(math.log(max(gap, SOLVED)) for gap in gaps))

    def presentation(self, study: Study) -> dict[str, Plain]:
        """Return what each problem is called, so that the report can be drawn where its code is not."""
        problems = {case.problem_json: case.problem for case in study.cases if isinstance(case, ProblemCase)}
        return {
            text: {
                "name": p.name,
                "label": p.label,
                "summary": p.summary,
                "sizes": p.name.removeprefix(p.kind).strip(),
                "is_known": p.is_known,
                "kind": p.kind,
            }
            for text, p in problems.items()
        }

    def columns(self, study: Study, run: Run, result: Result) -> dict[str, Plain]:
        """Return problem and setting, and where the run has ended."""
        case = run.case
        assert isinstance(case, ProblemCase)
        names = ("optimizer", "retraction", "metric", "geometry")
        row: dict[str, Plain] = {"problem": case.title.partition(" on ")[2]}
        row |= dict(zip(names, case.setting, strict=True))
        return row

    def costs(self, study: Study, run: Run, result: Result) -> dict[str, Plain]:
        """Return seconds, of all steps and up to the tolerances."""
        total = result.look_seconds[-1] if result.looks else 0.0
        told = {f"seconds_to_{t:g}": _known(cost_to(result, t, "seconds")) for t in _tolerances(study)}
        row: dict[str, Plain] = {"seconds": total, "seconds_per_step": total / max(result.steps, 1)}
        return row | told | {"threads": result.timing.threads}

    def content(
        self, study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]
    ) -> Content:
        """Return a table and figures for each factor."""
        return content_of(study, results, presentation, turns)


def _tolerances(study: Study) -> tuple[float, ...]:
    given = study.shared["tolerances"]
    assert isinstance(given, tuple)
    return tuple(float(value) for value in given)  # type: ignore[arg-type]


def _known(cost: float) -> float | None:
    return None if math.isinf(cost) else cost


KINDS.add(OptimizersKind.name, OptimizersKind())
