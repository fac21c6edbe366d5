"""One factor in numbers: what each of its choices leads to on each problem, over the starts."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast, final

from ..definition import Study
from ..design import Assignment
from ..register import Appearance, default_look
from ..report.intervals import median_interval
from ..report.reached import Reached, look_of
from ..result import Result
from ..schedule import Results
from ..turns import Turn
from .case import ProblemCase
from .measures import SOLVED, cost_to, final_gap, finite, mean_ranks, spent, tolerances

PROBLEM: Final = "problem"
# The factor of a study that changes none by itself.
COMBINATIONS: Final = "combinations"


@final
@dataclass(frozen=True)
class Words:
    """What a problem is called, as a study's folder has it.

    Attributes:
        text: the problem's plain values, as JSON.
        name, label, summary, sizes: the problem in a few words, in two, its cost in a line, and its sizes.
        is_known: whether its least cost is known.
        is_deterministic: whether its loss is no batch's.
    """

    text: str
    name: str
    label: str
    summary: str
    sizes: str
    is_known: bool
    is_deterministic: bool


@final
@dataclass(frozen=True)
class Choice:
    """A choice of a factor, or a combination of several: its place among them, its name and its look."""

    index: int
    label: str
    look: Appearance


@final
@dataclass(frozen=True, kw_only=True)
class Entry(Reached):
    """A choice on a problem, at its chosen learning rate, over the starts.

    Methods of ``minimize`` have neither a learning rate nor times in turns: they make all their iterations at once.
    """

    case: ProblemCase
    choice: Choice
    problem: Words

    @property
    def gap(self) -> float:
        """Geometric mean over the starts of the gap at the end, none below 1e-12; infinite if a run diverged."""
        if self.diverged:
            return math.inf
        return math.exp(statistics.fmean(math.log(final_gap(result)) for result in self.results))

    @property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest gap at the end of all starts."""
        gaps = [final_gap(result) for result in self.results]
        return min(gaps), max(gaps)

    @property
    def step_microseconds(self) -> float:
        """Median time of a step or iteration; NaN where none was made."""
        return math.nan if self.step_seconds is None else 1e6 * self.step_seconds

    @property
    def products(self) -> float | None:
        """Products of n × p with p × p a step or iteration; None but on Procrustes, whose cost has none of its own."""
        values = json.loads(self.problem.text)
        if values["kind"] != "procrustes":
            return None
        unit = 2 * values["n"] * values["p"] ** 2  # operations of such a product
        totals = [(result.series("operations"), result.steps) for result in self.results]
        return statistics.fmean(found[-1] / max(steps, 1) / unit for found, steps in totals if found)


@final
@dataclass(frozen=True)
class Comparison:
    """The choices of one factor, the centre first, on the problems on which at least two of them ran.

    Attributes:
        factor: the factor, in the singular.
        plural: the word for its choices.
        choices: all of them.
        entries: what they led to.
        tolerance: the gap at which a problem counts as solved.
    """

    factor: str
    plural: str
    choices: tuple[Choice, ...]
    entries: tuple[Entry, ...]
    tolerance: float

    @cached_property
    def problems(self) -> tuple[Words, ...]:
        """Problems with at least one entry, in the study's order."""
        return tuple(dict.fromkeys(entry.problem for entry in self.entries))

    def find(self, choice: Choice, problem: Words) -> Entry | None:
        """Return an entry; None where the choice was not run on the problem."""
        return next((e for e in self.entries if (e.choice, e.problem) == (choice, problem)), None)

    def entries_of(self, choice: Choice) -> list[Entry]:
        """Return all entries of a choice."""
        return [entry for entry in self.entries if entry.choice == choice]

    @cached_property
    def ranks(self) -> dict[Choice, float]:
        """Mean rank of each choice by the gap at the end, over the problems that it ran on."""
        return mean_ranks(
            {c: {e.problem.name: e.gap for e in self.entries_of(c)} for c in self.choices if self.entries_of(c)}
        )

    @cached_property
    def ordered(self) -> tuple[Choice, ...]:
        """The choices that have entries, the best mean rank first."""
        return tuple(sorted(self.ranks, key=lambda choice: self.ranks[choice]))

    def solved(self, choice: Choice) -> tuple[int, int]:
        """Return how many runs on problems with a known answer ended within the tolerance, and how many there are."""
        results = [result for entry in self.entries_of(choice) if entry.problem.is_known for result in entry.results]
        return sum(final_gap(result) <= self.tolerance for result in results), len(results)

    def products(self, choice: Choice) -> float | None:
        """Return the products a step on the first Procrustes problem; None where there is none."""
        return next((entry.products for entry in self.entries_of(choice) if entry.products is not None), None)

    def step_microseconds(self, choice: Choice) -> float:
        """Return the median time of a step over problems with a known answer, or over all where there is none."""
        return statistics.median(entry.step_microseconds for entry in self._known(choice))

    def times_as_long(self, choice: Choice, other: Choice) -> tuple[float, float] | None:
        """Return between what, with 95 % confidence, the median step takes as long as another choice's.

        Only where both have times that were taken in turns, round by round, on the same problems.
        """
        ratios: list[float] = []
        for entry in self.entries_of(choice):
            rival = self.find(other, entry.problem)
            if rival is not None and entry.turn is not None and rival.turn is not None:
                ratios += entry.turn.times_as_long(rival.turn)
        return median_interval(ratios)

    def orthogonality_error(self, choice: Choice) -> float:
        """Return the largest over problems with a known answer, which are in float64, or over all if there is none."""
        return max(entry.orthogonality_error or 0.0 for entry in self._known(choice))

    @cached_property
    def is_timed_in_turns(self) -> bool:
        """Whether all choices have times of steps that were taken in turns."""
        return all(entry.turn is not None for entry in self.entries)

    def spent(self, entry: Entry, result: Result, measure: str) -> tuple[float, ...]:
        """Return what a run spent up to each look; seconds are those of steps in turns where all choices have them."""
        if measure == "seconds" and self.is_timed_in_turns and entry.turn is not None:
            return tuple(look.step * entry.turn.median for look in result.looks)
        return spent(result, measure)

    def costs(self, tolerance: float, measure: str) -> dict[Choice, list[float]]:
        """Return what each choice needs for a gap on each problem with a known answer and start; NaN if not run."""
        known = [problem for problem in self.problems if problem.is_known]
        instances = [
            (problem, result.run.seed)
            for problem in known
            for result in max((e.results for e in self.entries if e.problem == problem), key=len)
        ]
        table: dict[Choice, list[float]] = {}
        for choice in self.choices:
            found = {
                (entry.problem, result.run.seed): math.inf
                if result.diverged
                else cost_to(result, tolerance, self.spent(entry, result, measure))
                for entry in self.entries_of(choice)
                for result in entry.results
            }
            if found:
                table[choice] = [found.get(instance, math.nan) for instance in instances]
        return table

    def row(self, choice: Choice) -> dict[str, Any]:
        """Return a choice in numbers, as plain values."""
        solved, runs = self.solved(choice)
        entries = self.entries_of(choice)
        return {
            "choice": choice.label,
            "mean_rank": self.ranks[choice],
            "solved": solved,
            "runs": runs,
            "step_microseconds": finite(self.step_microseconds(choice)),
            "products": self.products(choice),
            "orthogonality_error": self.orthogonality_error(choice),
            "gaps": {entry.problem.name: finite(entry.gap) for entry in entries},
            "learning_rates": {entry.problem.name: entry.learning_rate for entry in entries},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        choices = [self.row(choice) for choice in self.ordered]
        return {"factor": self.plural, "tolerance": self.tolerance, "choices": choices}

    def _known(self, choice: Choice) -> list[Entry]:
        entries = self.entries_of(choice)
        return [entry for entry in entries if entry.problem.is_known] or entries


EntryOf = Callable[[ProblemCase, Choice], Entry | None]


def comparisons_of(
    study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]
) -> tuple[Comparison, ...]:
    """Return a comparison of each factor with several choices, or one of all combinations where there is none."""
    groups = {factor: group for factor, group in study.groups.items() if factor != PROBLEM and len(group) > 1}
    if not groups:
        assignments = [json.loads(text) for text in study.assigned]
        without = ({name: v for name, v in given.items() if name != PROBLEM} for given in assignments)
        groups = {COMBINATIONS: tuple({json.dumps(given): given for given in without}.values())}
    entry_of = _entry_of(study, results, presentation, turns)
    return tuple(_comparison(study, factor, group, presentation, entry_of) for factor, group in groups.items())


def entries_of(study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]) -> list[Entry]:
    """Return what each case that has results has led to, in the study's order."""
    entry_of, cases = _entry_of(study, results, presentation, turns), cast("tuple[ProblemCase, ...]", study.cases)
    found = (entry_of(case, Choice(0, case.setting, default_look(0))) for case in cases)
    return [entry for entry in found if entry is not None]


def _entry_of(study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]) -> EntryOf:
    """Return what tells what a choice has led to on the problem of a case; None where no run is finished."""
    by_run = {turn.run: turn for turn in turns}

    def entry_of(case: ProblemCase, choice: Choice) -> Entry | None:
        problem = Words(text=case.problem_json, **presentation["problems"][case.problem_json])
        return Entry.of(study, case, results, {} if case.minimizes else by_run, choice=choice, problem=problem)

    return entry_of


def _comparison(
    study: Study, factor: str, group: tuple[Assignment, ...], presentation: Mapping[str, Any], entry_of: EntryOf
) -> Comparison:
    """Return what a factor's choices led to; a problem is left out where but one of them is open to it."""
    choices = tuple(_choice(study, factor, index, given, presentation) for index, given in enumerate(group))
    entries: list[Entry] = []
    for problem in study.factors[PROBLEM]:
        found: dict[ProblemCase, Entry] = {}
        for choice, given in zip(choices, group, strict=True):
            case = study.case_of({PROBLEM: problem, **given})
            if isinstance(case, ProblemCase) and case not in found and (entry := entry_of(case, choice)) is not None:
                found[case] = entry
        entries += found.values() if len(found) > 1 or len(choices) == 1 else []
    plural = next((short for short, name in study.of.short_forms.items() if name == factor), factor)
    return Comparison(factor, plural, choices, tuple(entries), max(tolerances(study)[-1], SOLVED))


def _choice(study: Study, factor: str, index: int, given: Assignment, presentation: Mapping[str, Any]) -> Choice:
    """Return a choice as readers see it; without a method of ``minimize`` it is the optimizer that steps."""
    names = list(given) if factor == COMBINATIONS else [factor]
    if "method" in names:
        names[names.index("method")] = "method" if given["method"] else "optimizer"
    values = {**study.shared, **given}
    titles, looks = presentation["titles"], presentation["looks"]
    words = []
    for name in dict.fromkeys(names or ["optimizer"]):
        value = values[name]
        words.append(f"{name.partition('.')[2]} {value}" if "." in name else titles.get(value, str(value)))
    found = [looks[value] for name in names if isinstance(value := values[name], str) and value in looks]
    return Choice(index, ", ".join(words), (look_of(found[0]) if found else None) or default_look(index))
