"""Which runs a study needs, and which of them can start now. Pure functions of the results that there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, final

from .case import Case, Run
from .result import Result
from .search import Order, Progress

if TYPE_CHECKING:
    from .definition import Study

Results = Mapping[Run, Result]


def progress(study: Study, case: Case, results: Results) -> Progress | None:
    """Follow the search for a case's learning rate as far as the results go; None for a case that needs none."""
    if not case.needs_rate:
        return None
    return study.search.follow(_Tried(study, case, results))


def chosen_runs(study: Study, case: Case, results: Results) -> list[Run]:
    """Return the runs of a case that are reported, one a seed; none while its learning rate is not chosen."""
    found = progress(study, case, results)
    if found is not None and found.chosen is None:
        return []
    rate = None if found is None else found.chosen
    return [study.run(case, rate, seed) for seed in study.seeds]


def planned_runs(study: Study, results: Results) -> list[Run]:
    """Return all runs that are known to be needed, finished ones included, in the study's order."""
    return [run for case in study.cases for run in _of_case(study, case, results)]


def pending_runs(study: Study, results: Results) -> list[Run]:
    """Return the runs that can start now; none when the study is finished.

    The cases take turns, so that a machine whose load changes is as fast for one as for the other.
    """
    rounds = zip_longest(*(_of_case(study, case, results) for case in study.cases))
    return [run for turn in rounds for run in turn if run is not None and run not in results]


def expected_runs(study: Study, case: Case, results: Results) -> int:
    """Return the number of runs of a case, further extensions of a search not foreseen."""
    found = progress(study, case, results)
    if found is None:
        return len(study.seeds)
    # The search's run of the chosen rate is one of those reported if its seed is among theirs.
    return len(study.seeds) + found.expected - (study.tuning_seed in study.seeds)


def expected_total(study: Study, results: Results) -> int:
    """Return the number of runs of the whole study, further extensions of a search not foreseen."""
    return sum(expected_runs(study, case, results) for case in study.cases)


@final
class _Tried(Mapping[float, Order]):
    """What the runs of a case's learning rates are ordered by, looked up when a search asks for a rate.

    To list the rates takes a look at all results: no search does so for every case.
    """

    def __init__(self, study: Study, case: Case, results: Results) -> None:
        self._study, self._case, self._results = study, case, results

    def __getitem__(self, rate: float) -> Order:
        return self._study.of.order(self._results[self._study.run(self._case, rate, self._study.tuning_seed)])

    def __iter__(self) -> Iterator[float]:
        runs = (run for run in self._results if run.case == self._case and run.seed == self._study.tuning_seed)
        return (run.learning_rate for run in runs if run.learning_rate is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _of_case(study: Study, case: Case, results: Results) -> list[Run]:
    found = progress(study, case, results)
    tuning = [] if found is None else [study.run(case, rate, study.tuning_seed) for rate in found.rates]
    return tuning + [run for run in chosen_runs(study, case, results) if run not in tuning]
