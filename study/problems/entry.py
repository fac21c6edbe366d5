"""What one choice of a factor leads to on one problem."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from typing import Final, final

from ..register import Appearance, Line
from ..report.reached import Reached
from .case import ProblemCase
from .measures import final_gap

# Colours safe for colour-blind readers, after Okabe and Ito (2008), darkened where they are faint on white; the centre
# is always the first.
_COLOURS: Final = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00")
_DASHES: Final[tuple[Line, ...]] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_MARKERS: Final = "osD^vPX*<>pdhH8"


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

    @property
    def unit(self) -> int | None:
        """Operations of a product of n × p with p × p on Procrustes, whose cost has none of its own; None elsewhere."""
        values = json.loads(self.text)
        return 2 * values["n"] * values["p"] ** 2 if values["kind"] == "procrustes" else None


@final
@dataclass(frozen=True)
class Choice:
    """A choice of a factor, or a combination of several: its place among them, its name and its look if it has one."""

    index: int
    label: str
    own_look: Appearance | None = None

    @property
    def look(self) -> Appearance:
        """The choice's own look, or one by its place; the first 21 differ."""
        if self.own_look is not None:
            return self.own_look
        if self.index == 0:
            return Appearance(_COLOURS[0], _MARKERS[0], "-")
        turn, place = divmod(self.index - 1, len(_COLOURS) - 1)
        marker = _MARKERS[self.index % len(_MARKERS)]
        return Appearance(_COLOURS[1 + place], marker, _DASHES[turn % len(_DASHES)])


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
        unit = self.problem.unit
        if unit is None:
            return None
        totals = [(result.series("operations"), result.steps) for result in self.results]
        return statistics.fmean(found[-1] / max(steps, 1) / unit for found, steps in totals if found)
