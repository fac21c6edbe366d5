"""The choice of learning rates, and from it what is still to be run. Pure functions of the results there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import final

from .curve import Curve
from .result import Result
from .run import Run
from .study import Study

Results = Mapping[Run, Result]


@final
@dataclass(frozen=True)
class Search:
    """Where the search for a curve's learning rate stands.

    Attributes:
        rates: the grid with its extensions so far, ascending.
        missing: rates that must be run before the search can go on.
        chosen: the best rate, None while rates are missing.
    """

    rates: tuple[float, ...]
    missing: tuple[float, ...]
    chosen: float | None

    @property
    def at_edge(self) -> bool:
        """Whether the best rate lies at the edge of the last grid, because no extension was left."""
        return len(self.rates) > 1 and self.chosen in (self.rates[0], self.rates[-1])


def search(study: Study, curve: Curve, results: Results) -> Search:
    """Follow the search for a curve's learning rate as far as the results go.

    Each extension continues the grid at the edge where the best rate lies, by the ratio of the last two.
    """
    rates = list(study.learning_rates)
    for extension in range(study.extensions + 1):
        runs = {rate: study.run(curve, rate, study.seeds[0]) for rate in rates}
        missing = tuple(rate for rate, run in runs.items() if run not in results)
        if missing:
            return Search(tuple(rates), missing, None)
        best = max(rates, key=lambda rate: validation_order(results[runs[rate]]))
        interior = len(rates) == 1 or best not in (rates[0], rates[-1])
        if interior or extension == study.extensions:
            return Search(tuple(rates), (), best)
        if best == rates[0]:
            rates.insert(0, _rounded(rates[0] ** 2 / rates[1]))
        else:
            rates.append(_rounded(rates[-1] ** 2 / rates[-2]))
    raise AssertionError("the last extension returns")


def validation_order(result: Result) -> tuple[float, float]:
    """Return what runs are ordered by: the validation score, then the validation loss; one that diverged is worst."""
    if result.validation is None:
        return (-math.inf, -math.inf)
    return (result.validation.score, -result.validation.loss)


def chosen_runs(study: Study, curve: Curve, results: Results) -> list[Run]:
    """Return the runs of a curve at its chosen learning rate, one a seed; none while it is not chosen."""
    chosen = search(study, curve, results).chosen
    return [] if chosen is None else [study.run(curve, chosen, seed) for seed in study.seeds]


def planned_runs(study: Study, results: Results) -> list[Run]:
    """Return all runs that are known to be needed, finished ones included, in the study's order."""
    return [run for curve in study.curves for run in _planned_runs(study, curve, results)]


def pending_runs(study: Study, results: Results) -> list[Run]:
    """Return the runs that can start now; none when the study is finished.

    The curves take turns, so that a machine whose load changes is as fast for one as for the other.
    """
    rounds = zip_longest(*(_planned_runs(study, curve, results) for curve in study.curves))
    return [run for turn in rounds for run in turn if run is not None and run not in results]


def expected_total(study: Study, results: Results) -> int:
    """Return the number of runs of the whole study, further extensions not foreseen."""
    undecided = sum(search(study, curve, results).chosen is None for curve in study.curves)
    return len(planned_runs(study, results)) + undecided * (len(study.seeds) - 1)


def _planned_runs(study: Study, curve: Curve, results: Results) -> list[Run]:
    selecting = [study.run(curve, rate, study.seeds[0]) for rate in search(study, curve, results).rates]
    return selecting + [run for run in chosen_runs(study, curve, results) if run not in selecting]


def _rounded(rate: float) -> float:
    """Return a rate without the last digits, which would be rounding."""
    return float(f"{rate:.6g}")
