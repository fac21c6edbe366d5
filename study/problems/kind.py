"""Studies of optimizers: one factor at a time around a centre, on problems whose answer is known and on training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar, Final, final

from ...manifolds import require_integer, require_number
from .._plain import Plain, require_known, to_json
from ..definition import Study
from ..design import Assignment, Design, OneAtATime
from ..kind import Kind, named
from ..parts import (
    EMBEDDED,
    GEOMETRIES,
    METRICS,
    MINIMIZERS,
    OPTIMIZERS,
    RETRACTIONS,
    has_option,
    name_of_part,
    options_among,
)
from ..register import Register
from ..report.content import Content
from ..result import Result
from ..schedule import Results
from ..search import Bisection, Order, Strategy
from ..surroundings import Surroundings
from ..turns import Turn
from . import measures
from .case import DEFAULTS, ProblemCase, geometry_of
from .problem import all_values_of, problem_of, values_of

# What is minimized where a study does not say.
PROBLEMS_BY_DEFAULT: Final[tuple[dict[str, Plain], ...]] = (
    {"kind": "procrustes", "n": 60, "p": 8, "condition": 30.0},
    {"kind": "procrustes", "n": 12, "p": 12, "condition": 10.0},
    {"kind": "brockett", "n": 60, "p": 4, "condition": 60.0},
    {"kind": "leading-eigenspace", "n": 60, "p": 8, "condition": 30.0},
    {"kind": "low-rank-approximation"},
    {"kind": "recovery"},
    {"kind": "completion", "noise": 0.02},
    {"kind": "digits"},
)
_REGISTERS: Final[dict[str, Register[Any]]] = {
    "optimizer": OPTIMIZERS,
    "method": MINIMIZERS,
    "retraction": RETRACTIONS,
    "geometry": GEOMETRIES,
}


# How things that are given as objects are named.
_NAMES: Final[dict[str, Callable[[object], Any]]] = {
    "problem": values_of,
    **{name: partial(name_of_part, register) for name, register in _REGISTERS.items()},
}


@final
class OptimizersKind(Kind):
    """Optimizers and methods, and the retraction, metric and geometry under them, on problems.

    Every optimizer with a learning rate has the same number of runs to find one on each problem, from a start that is
    used for nothing else; then all run from all seeds.

    Factors are `problem`, `optimizer`, `method` (of ``minimize``, which takes the optimizer's place), `retraction`,
    `metric` and `geometry`, and options of parts such as `optimizer.momentum`, which count where a part has them. The
    metric `embedded` comes with the geometry `grassmann`. Problems, optimizers and all other parts may be given as
    objects.
    """

    name: ClassVar[str] = ProblemCase.kind
    case_type: ClassVar[type[ProblemCase]] = ProblemCase
    defaults: ClassVar[Mapping[str, Plain]] = {
        "centre": {},
        "optimizer": "riemannian-adam",
        "method": "",
        **DEFAULTS,
        "steps": 300,  # and of problems whose loss is that of a batch:
        "training_steps": 100,
        "looks": 50,
        "training_looks": 10,
        "tolerances": (1e-3, 1e-6),  # at which performance profiles are drawn, and costs are told in tables
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
    open_parts: ClassVar[tuple[str, ...]] = ("optimizer", "method", "retraction", "metric", "geometry")

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys with a centre's own side by side, and all that was given as objects by name."""
        filled: dict[str, Any] = {"tuning_seed": 100, "seeds": [0, 1, 2], **values}
        factors = {name: named(_NAMES, name, given) for name, given in dict(filled.get("factors", {})).items()}
        for short, factor in self.short_forms.items():
            if short in filled:
                filled[short] = named(_NAMES, factor, filled[short])
                if factor != "problem" and not filled[short]:
                    del filled[short]
        if "problems" not in filled and "problem" not in factors:
            filled["problems"] = [dict(values) for values in PROBLEMS_BY_DEFAULT]
        if factors:
            filled["factors"] = factors
        filled.update(self._centre(filled))
        seed, seeds = filled["tuning_seed"], filled["seeds"]
        if isinstance(seeds, list | tuple) and seed in seeds:
            raise ValueError(f"tuning_seed must not be among the seeds, got {seed}; report other starts")
        if "tolerances" in filled:
            filled["tolerances"] = _tolerances(filled["tolerances"])
        return filled

    def case(self, values: Assignment) -> ProblemCase | None:
        """Return the case; None where the problem does not tell the geometry from another one."""
        chosen: dict[str, Any] = dict(values)
        minimizes = bool(chosen["method"])
        optimizer = str(chosen["method"] or chosen["optimizer"])
        part = "method" if minimizes else "optimizer"
        if not minimizes and optimizer in MINIMIZERS:
            raise ValueError(f"optimizers must have a learning rate, got {optimizer!r}; list it under methods")
        for factor, name in ((part, optimizer), *((key, chosen[key]) for key in ("retraction", "geometry"))):
            _REGISTERS[factor].entry(name, factor)
        require_known("metric", chosen["metric"], METRICS)
        given = values_of(chosen["problem"])
        problem = problem_of(given)
        if minimizes and not problem.is_deterministic:
            return None
        if chosen["metric"] == EMBEDDED and chosen["geometry"] == DEFAULTS["geometry"]:
            chosen["geometry"] = "grassmann"
        parts = {name: str(chosen[name] if problem.has_geometry else usual) for name, usual in DEFAULTS.items()}
        takes: dict[str, Callable[[str], bool]] = {
            factor: partial(has_option, _REGISTERS[factor], name)
            for factor, name in {**parts, part: optimizer}.items()
            if factor != "metric"
        }
        takes["metric"] = lambda option: parts["metric"] == EMBEDDED
        options = options_among(chosen, takes)
        geometry = geometry_of(parts["geometry"], parts["metric"], parts["retraction"], options)
        centre = chosen["centre"]
        assert isinstance(centre, Mapping)
        is_centre = all(chosen[name] == centre.get(name, usual) for name, usual in DEFAULTS.items())
        if problem.has_geometry and not is_centre and not problem.distinguishes(geometry):
            return None
        prefix = "" if problem.is_deterministic else "training_"
        for key in ("steps", "training_steps", "looks", "training_looks"):
            require_integer(key, chosen[key], least=1)
        steps, looks = int(chosen[f"{prefix}steps"]), int(chosen[f"{prefix}looks"])
        return ProblemCase(
            problem_json=to_json(all_values_of(given)).strip(),
            problem_name=problem.name,
            optimizer=optimizer,
            **parts,
            steps=steps,
            looks=min(looks, steps),
            minimizes=minimizes,
            options=options,
        )

    def order(self, result: Result) -> Order:
        """Return the shortfall at the end, then its mean logarithm, both with their signs turned."""
        if result.diverged:
            return (-math.inf, -math.inf)
        gaps = measures.shortfalls(result)
        return (-measures.final_gap(result), -statistics.fmean(math.log(max(gap, measures.SOLVED)) for gap in gaps))

    def require(self, study: Study, surroundings: Surroundings) -> str | None:
        """Refuse options that no part has, which would be left out of all cases, and users' parts that cannot be run.

        Raises:
            ValueError: as said.
        """
        cases = [case for case in study.cases if isinstance(case, ProblemCase)]
        study.require_options(key for case in cases for key, _ in case.options)
        from .trials import try_out  # which need this module

        try_out(cases, study.seeds[0])
        return None

    def presentation(self, study: Study) -> dict[str, Plain]:
        """Return what each problem is called, and titles and looks of what a user has registered."""
        problems = {case.problem_json: case.problem for case in study.cases if isinstance(case, ProblemCase)}
        words: dict[str, Plain] = {
            text: {
                "name": problem.name,
                "label": problem.label,
                "summary": problem.summary,
                "sizes": problem.name.removeprefix(problem.kind).strip(),
                "is_known": problem.is_known,
                "is_deterministic": problem.is_deterministic,
            }
            for text, problem in problems.items()
        }
        titles: dict[str, Plain] = {}
        looks: dict[str, Plain] = {}
        for factor in (factor for factor in study.factors if factor in _REGISTERS):
            for name in (*study.factors[factor], study.centre.get(factor)):
                if isinstance(name, str) and name:
                    titles[name] = _REGISTERS[factor].title(name)
                    look = _REGISTERS[factor].entry(name).look
                    if look is not None:
                        looks[name] = asdict(look)
        return {"problems": words, "titles": titles, "looks": looks}

    def columns(self, study: Study, result: Result, chosen: bool) -> dict[str, Plain]:
        """Return problem and setting, and where the run has ended."""
        run, case = result.run, result.run.case
        assert isinstance(case, ProblemCase)
        row: dict[str, Plain] = {"problem": case.problem_name, "optimizer": case.optimizer}
        row |= {name: getattr(case, name) for name in DEFAULTS}
        options = dict(case.options)
        row |= {key: options.get(key) for key in study.factors if "." in key}
        row |= {"learning_rate": run.learning_rate, "seed": run.seed, "chosen": chosen}
        row |= {"diverged_at": measures.diverged_in(result), "reason": result.reason}
        row |= measures.ends(result)
        evaluations = measures.spent(result, "evaluations")
        for tolerance in measures.tolerances(study):
            row[f"evaluations_to_{tolerance:g}"] = measures.finite(measures.cost_to(result, tolerance, evaluations))
        return row

    def costs(self, study: Study, result: Result) -> dict[str, Plain]:
        """Return seconds, of all steps and up to the tolerances."""
        total = result.look_seconds[-1] if result.looks else 0.0
        row: dict[str, Plain] = {"seconds": total, "seconds_per_step": total / max(result.steps, 1)}
        seconds = measures.spent(result, "seconds")
        for tolerance in measures.tolerances(study):
            row[f"seconds_to_{tolerance:g}"] = measures.finite(measures.cost_to(result, tolerance, seconds))
        return {**row, "threads": result.timing.threads}

    def content(
        self, study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]
    ) -> Content:
        """Return a table and figures for each factor."""
        from .report import content_of  # which draws: definitions need it not

        return content_of(study, results, presentation, turns)

    def _centre(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the centre's choices, together and each by its own key."""
        centre = values.get("centre", {})
        if not isinstance(centre, Mapping):
            raise TypeError(f"centre must be a table such as {{optimizer = 'riemannian-sgd'}}, got {centre!r}")
        known = ("optimizer", *DEFAULTS)
        for key in centre:
            require_known("key of the centre", key, known)
        given = {key: values.get(key, self.defaults[key]) for key in known} | dict(centre)
        chosen = {key: named(_NAMES, key, [value])[0] for key, value in given.items()}
        return {"centre": chosen, **chosen}


def _tolerances(given: object) -> tuple[float, ...]:
    if not isinstance(given, list | tuple) or not given:
        raise TypeError(f"tolerances must be a list of numbers, got {given!r}")
    for value in given:
        require_number("tolerances", value, above=0)
    return tuple(sorted((float(value) for value in given), reverse=True))
