"""What a case has reached at its chosen learning rate: the common ground of the reports of all kinds of studies."""

from __future__ import annotations

import abc
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..case import Case
from ..register import Appearance
from ..result import Result
from ..schedule import Results, chosen_runs, progress
from .content import listed

if TYPE_CHECKING:
    from ..definition import Study
    from ..turns import Turn


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
