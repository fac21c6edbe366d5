"""What a case has reached at its chosen learning rate, and whether it had come to its end: for reports of all kinds."""

from __future__ import annotations

import abc
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from ..case import Case
from ..register import Appearance
from ..result import Result
from ..schedule import Results, chosen_runs, progress
from .content import listed

if TYPE_CHECKING:
    from ..definition import Study
    from ..turns import Turn


SHARE: Final = 10  # of the steps that are compared, at the end and right before: a tenth
FEWEST: Final = 5  # steps in a tenth, below which noise decides
LEAST: Final = 0.1  # by which a loss must have fallen from one tenth to the next, relative to the former
ERRORS: Final = 3.0  # standard errors by which it must have fallen: what noise alone hardly does
NAMED: Final = 4  # cases that are listed by name


@dataclass(frozen=True, kw_only=True)
class Reached(abc.ABC):
    """A case at its chosen learning rate, over seeds.

    Attributes:
        case: what was run.
        results: of the seeds that are finished, in the study's order; at least one.
        learning_rate: the chosen one; None for what has none.
        at_edge: whether it is the smallest or the largest that was tried.
        turn: times of its steps that were taken in turns with the others'; None where there are none.
    """

    case: Case
    results: tuple[Result, ...]
    learning_rate: float | None
    at_edge: bool = False
    turn: Turn | None = None

    @classmethod
    def of(cls, study: Study, case: Case, results: Results, turns: Mapping[str, Turn], **own: Any) -> Self | None:
        """Return what a case has reached, with further attributes of its own; None where no run is finished."""
        found = chosen_results(study, case, results)
        if not found:
            return None
        state = progress(study, case, results)
        turn = next((turns[r.run.identifier] for r in found if r.run.identifier in turns), None)
        rate, at_edge = (None, False) if state is None else (state.chosen, state.at_edge)
        return cls(case=case, results=found, learning_rate=rate, at_edge=at_edge, turn=turn, **own)

    @property
    def finished(self) -> list[Result]:
        """Results that did not diverge."""
        return [result for result in self.results if not result.diverged]

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return len(self.results) - len(self.finished)

    @property
    def step_seconds(self) -> float | None:
        """Median time of a step: over turns if these were made, else over seeds and steps; None where there is none."""
        if self.turn is not None:
            return self.turn.median
        seconds = [second for result in self.results for second in result.timing.step_seconds]
        return statistics.median(seconds) if seconds else None

    @property
    def orthogonality_error(self) -> float | None:
        """The largest ‖XᵀX − I‖_F over frames, looks and seeds; None where there are no frames."""
        errors = (result.largest("orthogonality_error") for result in self.results)
        return max((error for error in errors if error is not None), default=None)


def chosen_results(study: Study, case: Case, results: Results) -> tuple[Result, ...]:
    """Return the results that there are of a case at its chosen learning rate, in the order of the study's seeds."""
    return tuple(results[run] for run in chosen_runs(study, case, results) if run in results)


def on_searches(diverged: Mapping[str, int], at_edge: Mapping[str, int], each: str = "") -> Iterator[str]:
    """Say which chosen learning rates diverged, and which lie at an edge, by what they belong to."""
    failed = [f"{name} ({count})" for name, count in diverged.items() if count]
    if failed:
        yield f"Runs whose loss ceased to be finite, at a chosen learning rate: {listed(failed)}."
    elif diverged:
        yield "No run at a chosen learning rate diverged."
    edges = [f"{name} ({count})" if each else name for name, count in at_edge.items() if count]
    if edges:
        numbers = f"; {each}" if each else ""
        yield (
            "Learning rates marked * were the best at the edge of what was tried, and might gain from a wider "
            f"search{numbers}: {listed(edges)}."
        )


def look_of(values: Mapping[str, Any]) -> Appearance | None:
    """Return a look from its plain values, in which a pattern of dashes may be a list; None where it has no colour."""
    if values.get("color") is None:
        return None
    line: Any = values.get("line") or "-"
    if not isinstance(line, str):
        line = (line[0], tuple(line[1]))
    return Appearance(values["color"], values.get("marker") or "o", line)


def still_falling(study: Study, results: Results, names: Mapping[str, str] | None = None) -> str | None:
    """Return a sentence on the cases whose loss still falls at the last step; None where there are none.

    Args:
        study: what was compared.
        results: of all finished runs.
        names: what titles of cases are called, where not as they are.

    A case is one of them where, averaged over seeds, the mean loss of the last tenth of the steps is clearly below that
    of the tenth before.
    """
    falls = {}
    for case in study.cases:
        reached = chosen_results(study, case, results)
        losses = [result.losses for result in reached if not result.diverged and result.losses]
        fall = _fall(losses)
        if fall is not None:
            falls[(names or {}).get(case.title, case.title)] = fall
    if not falls:
        return None
    steepest = sorted(falls, key=lambda title: -falls[title])
    named = [f"{title} ({100 * falls[title]:.0f} %)" for title in steepest[:NAMED]]
    if len(steepest) > NAMED:
        named.append(f"{len(steepest) - NAMED} others by less")
    return (
        f"The loss was still falling at the last step in {len(falls)} of {len(study.cases)} cases, and with "
        f"more steps these might compare differently. Its mean over the last tenth of the steps is below that over the "
        f"tenth before for: {'; '.join(named)}."
    )


def _fall(losses: Sequence[Sequence[float]]) -> float | None:
    """Return by what share of itself the mean loss has fallen from one tenth to the next; None if not clearly."""
    steps = min(map(len, losses), default=0)
    width = steps // SHARE
    if width < FEWEST:
        return None
    mean = np.mean([run[:steps] for run in losses], axis=0)
    before, last = mean[-2 * width : -width], mean[-width:]
    fall = before.mean() - last.mean()
    error = np.sqrt((before.var(ddof=1) + last.var(ddof=1)) / width)
    share = fall / abs(before.mean()) if before.mean() else 0.0
    return float(share) if fall > ERRORS * error and share > LEAST else None
