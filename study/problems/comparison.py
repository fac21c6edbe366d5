"""One factor in numbers: what each of its choices leads to on each problem."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from ..problems import Problem, Procrustes
from .profiles import mean_ranks
from .result import SOLVED, OptimizationResult
from .selection import Results, chosen_runs, search
from .setting import Setting
from .study import OptimizerStudy
from .trial import AnyProblem

FIELDS: Final = {
    "optimizers": "optimizer",
    "methods": "method",
    "retractions": "retraction",
    "metrics": "metric",
    "geometries": "geometry",
}


@final
@dataclass(frozen=True)
class Entry:
    """A setting on a problem, at its chosen learning rate, over the starts.

    Attributes:
        results: of the seeds that are finished, in the study's order.
        learning_rate: the chosen one; None for methods of ``minimize``.
        at_edge: whether it is the smallest or the largest that was tried.
    """

    setting: Setting
    problem: AnyProblem
    results: tuple[OptimizationResult, ...]
    learning_rate: float | None
    at_edge: bool

    @property
    def gap(self) -> float:
        """Geometric mean over the starts of the gap at the end, none below 1e-12; infinite if a run diverged."""
        if any(result.diverged for result in self.results):
            return math.inf
        return math.exp(statistics.fmean(math.log(result.final_gap) for result in self.results))

    @property
    def step_microseconds(self) -> float:
        """Median over starts and looks of the time of a step or iteration."""
        times = [
            np.diff(result.timing.seconds) / np.diff(result.steps) for result in self.results if len(result.steps) > 1
        ]
        return 1e6 * float(np.median(np.concatenate(times))) if times else math.nan

    @property
    def products(self) -> float | None:
        """Products of n × p with p × p a step or iteration; None but on Procrustes, whose cost has none of its own."""
        if not isinstance(self.problem, Procrustes):
            return None
        unit = 2 * self.problem.n * self.problem.p**2
        return statistics.fmean(result.operations[-1] / max(result.steps[-1], 1) / unit for result in self.results)

    @property
    def orthogonality_error(self) -> float:
        """The largest ‖XᵀX − I‖_F over frames, looks and starts."""
        return max(result.orthogonality_error for result in self.results)


@final
@dataclass(frozen=True)
class Comparison:
    """The choices of one factor, the centre first, on the problems on which at least two of them ran.

    Attributes:
        factor: the factor.
        settings: its choices.
        entries: what they led to.
        tolerance: the gap at which a problem counts as solved.
    """

    factor: str
    settings: tuple[Setting, ...]
    entries: tuple[Entry, ...]
    tolerance: float

    @cached_property
    def problems(self) -> tuple[AnyProblem, ...]:
        """Problems with at least one entry, in the study's order."""
        return tuple(dict.fromkeys(entry.problem for entry in self.entries))

    def label(self, setting: Setting) -> str:
        """Return the choice by name."""
        return setting.name("optimizer" if self.field == "method" else self.field)

    @property
    def field(self) -> str:
        """The factor in the singular."""
        return FIELDS[self.factor]

    def find(self, setting: Setting, problem: AnyProblem) -> Entry | None:
        """Return an entry; None where the setting was not run on the problem."""
        for entry in self.entries:
            if (entry.setting, entry.problem) == (setting, problem):
                return entry
        return None

    def of(self, setting: Setting) -> list[Entry]:
        """Return all entries of a setting."""
        return [entry for entry in self.entries if entry.setting == setting]

    @cached_property
    def ranks(self) -> dict[Setting, float]:
        """Mean rank of each setting by the gap at the end, over the problems that all of its rivals ran on too."""
        return mean_ranks(
            {s: {entry.problem.name: entry.gap for entry in self.of(s)} for s in self.settings if self.of(s)}
        )

    @cached_property
    def ordered(self) -> tuple[Setting, ...]:
        """The settings that have entries, the best mean rank first."""
        return tuple(sorted(self.ranks, key=lambda setting: self.ranks[setting]))

    def solved(self, setting: Setting) -> tuple[int, int]:
        """Return how many runs on problems with a known answer ended within the tolerance, and how many there are."""
        results = [r for entry in self.of(setting) if isinstance(entry.problem, Problem) for r in entry.results]
        return sum(result.final_gap <= self.tolerance for result in results), len(results)

    def products(self, setting: Setting) -> float | None:
        """Return the products a step on the first Procrustes problem; None where there is none."""
        return next((entry.products for entry in self.of(setting) if entry.products is not None), None)

    def step_microseconds(self, setting: Setting) -> float:
        """Return the median time of a step over problems with a known answer, or over all where there is none."""
        entries = self.of(setting)
        known = [entry for entry in entries if isinstance(entry.problem, Problem)]
        return statistics.median(entry.step_microseconds for entry in known or entries)

    def orthogonality_error(self, setting: Setting) -> float:
        """Return the largest over problems with a known answer, which are in float64, or over all if there is none."""
        entries = self.of(setting)
        known = [entry for entry in entries if isinstance(entry.problem, Problem)]
        return max(entry.orthogonality_error for entry in known or entries)

    def costs(self, tolerance: float, measure: str) -> dict[Setting, list[float]]:
        """Return the cost to reach a gap of each setting on each problem with a known answer and start; NaN if not run.

        See :meth:`OptimizationResult.cost_to`.
        """
        instances = [
            (problem, result.run.seed)
            for problem in self.problems
            if isinstance(problem, Problem)
            for result in max((e.results for e in self.entries if e.problem == problem), key=len)
        ]
        table: dict[Setting, list[float]] = {}
        for setting in self.settings:
            found = {
                (entry.problem, result.run.seed): math.inf if result.diverged else result.cost_to(tolerance, measure)
                for entry in self.of(setting)
                for result in entry.results
            }
            if found:
                table[setting] = [found.get(instance, math.nan) for instance in instances]
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "factor": self.factor,
            "tolerance": self.tolerance,
            "choices": [
                {
                    "choice": self.label(setting),
                    "mean_rank": self.ranks[setting],
                    "solved": self.solved(setting)[0],
                    "runs": self.solved(setting)[1],
                    "step_microseconds": self.step_microseconds(setting),
                    "products": self.products(setting),
                    "orthogonality_error": self.orthogonality_error(setting),
                    "gaps": {
                        entry.problem.name: None if math.isinf(entry.gap) else entry.gap for entry in self.of(setting)
                    },
                    "learning_rates": {entry.problem.name: entry.learning_rate for entry in self.of(setting)},
                }
                for setting in self.ordered
            ],
        }


def compare(study: OptimizerStudy, factor: str, results: Results) -> Comparison:
    """Return what a factor's choices led to, as far as there are results.

    A problem is left out where but one choice of the factor is open to it.
    """
    settings = study.groups[factor]
    entries = []
    for problem in study.problems:
        found = []
        for setting in settings:
            if (setting, problem) not in study.curves:
                continue
            runs = [run for run in chosen_runs(study, setting, problem, results) if run in results]
            if not runs:
                continue
            at_edge = not setting.is_deterministic and search(study, setting, problem, results).at_edge
            outcome = tuple(results[run] for run in runs)
            found.append(Entry(setting, problem, outcome, runs[0].learning_rate, at_edge))
        entries += found if len(found) > 1 else []
    return Comparison(factor, settings, tuple(entries), max(study.tolerances[-1], SOLVED))
