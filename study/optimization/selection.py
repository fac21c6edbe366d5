"""The choice of learning rates, and from it what is still to be run. Pure functions of the results there are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import final

from .result import SOLVED, OptimizationResult
from .run import OptimizationRun
from .setting import Setting
from .study import OptimizerStudy
from .trial import AnyProblem

Results = Mapping[OptimizationRun, OptimizationResult]


@final
@dataclass(frozen=True)
class RateSearch:
    """Where the search for a curve's learning rate stands.

    Attributes:
        rates: those tried and those to be tried next, ascending.
        missing: rates that must be run before the search can go on.
        chosen: the best rate, None while rates are missing.
    """

    rates: tuple[float, ...]
    missing: tuple[float, ...]
    chosen: float | None

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest that was tried."""
        return self.chosen in (self.rates[0], self.rates[-1])


def search(study: OptimizerStudy, setting: Setting, problem: AnyProblem, results: Results) -> RateSearch:
    """Follow the search for a learning rate as far as the results go."""
    rates = list(study.learning_rates)
    ratio = rates[1] / rates[0]
    while True:
        runs = {rate: study.run(setting, problem, rate, study.tuning_seed) for rate in rates}
        missing = tuple(rate for rate, run in runs.items() if run not in results)
        if missing:
            return RateSearch(tuple(rates), missing, None)
        best = min(rates, key=lambda rate: tuning_order(results[runs[rate]]))
        if len(rates) >= study.trials:
            return RateSearch(tuple(rates), (), best)
        rates = sorted([*rates, _next(rates, rates.index(best), ratio)])


def tuning_order(result: OptimizationResult) -> tuple[float, float]:
    """Return what runs are ordered by, the best first: the shortfall at the end, then its mean logarithm."""
    if result.diverged:
        return (math.inf, math.inf)
    return (result.final_gap, statistics.fmean(math.log(max(gap, SOLVED)) for gap in result.shortfalls))


def chosen_runs(
    study: OptimizerStudy, setting: Setting, problem: AnyProblem, results: Results
) -> list[OptimizationRun]:
    """Return the runs that are reported, one a seed; none while the learning rate is not chosen."""
    if setting.is_deterministic:
        return [study.run(setting, problem, None, seed) for seed in study.seeds]
    chosen = search(study, setting, problem, results).chosen
    return [] if chosen is None else [study.run(setting, problem, chosen, seed) for seed in study.seeds]


def planned_runs(study: OptimizerStudy, results: Results) -> list[OptimizationRun]:
    """Return all runs that are known to be needed, finished ones included, in the study's order."""
    return [run for setting, problem in study.curves for run in _planned(study, setting, problem, results)]


def pending_runs(study: OptimizerStudy, results: Results) -> list[OptimizationRun]:
    """Return the runs that can start now; none when the study is finished. The curves take turns."""
    rounds = zip_longest(*(_planned(study, setting, problem, results) for setting, problem in study.curves))
    return [run for turn in rounds for run in turn if run is not None and run not in results]


def expected_total(study: OptimizerStudy) -> int:
    """Return the number of runs of the whole study."""
    return sum(len(study.seeds) + (0 if setting.is_deterministic else study.trials) for setting, _ in study.curves)


def _planned(study: OptimizerStudy, setting: Setting, problem: AnyProblem, results: Results) -> list[OptimizationRun]:
    chosen = chosen_runs(study, setting, problem, results)
    if setting.is_deterministic:
        return chosen
    rates = search(study, setting, problem, results).rates
    return [*(study.run(setting, problem, rate, study.tuning_seed) for rate in rates), *chosen]


def _next(rates: list[float], best: int, ratio: float) -> float:
    """Return the rate beyond the best where that is at an end, else the middle of the wider gap beside it."""
    if best == 0:
        rate = rates[0] / ratio
    elif best == len(rates) - 1:
        rate = rates[-1] * ratio
    else:
        below, above = rates[best] / rates[best - 1], rates[best + 1] / rates[best]
        # Rounded rates make equal gaps differ in the last digits.
        other = rates[best + 1] if above > 0.99 * below else rates[best - 1]
        rate = math.sqrt(rates[best] * other)
    return float(f"{rate:.6g}")  # without the last digits, which would be rounding
