"""The curves of a study as a table for people, and as one for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, final

import pandas as pd

from ...definition import Study
from ...report.content import Table
from ...report.intervals import Interval
from .curve import Curve


@final
@dataclass(frozen=True)
class Score:
    """The score of a test, of which more is better.

    Attributes:
        name: such as "accuracy".
        scale: what it is multiplied with where people read it.
        unit: the unit that it then has, such as "%"; empty for none.
        digits: how many digits after the point it then has.
        others: what tables show beside it, titles by name: `loss`, or another measure on the test split.
    """

    name: str = "score"
    scale: float = 1.0
    unit: str = ""
    digits: int = 3
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, presentation: Mapping[str, Any]) -> Self:
        """Read what a study is presented with."""
        own = {name: presentation[f"score_{name}"] for name in ("name", "scale", "unit", "digits")}
        return cls(**own, others=dict(presentation["other_measures"]))

    @property
    def column(self) -> str:
        """Its name as that of a column."""
        return column(self.name)

    @property
    def title(self) -> str:
        """Its name with its unit, for the axis of a plot."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def text(self, interval: Interval) -> str:
        """Return a mean with its interval as people read it, without the unit."""
        return interval.text(self.scale, self.digits)

    def scaled(self, interval: Interval) -> str:
        """Return a mean with its interval as people read it, such as ``97.5 ± 0.4 %``."""
        return f"{self.text(interval)} {self.unit}".rstrip()

    def difference(self, interval: Interval) -> str:
        """Return a difference with its sign, in points of a percentage or in the score's unit."""
        sign = "+" if (interval.mean or 0) >= 0 else ""
        unit = "points" if self.unit == "%" else self.unit
        return f"{sign}{self.text(interval)} {unit}".rstrip().replace("-", "−")


def column(name: str) -> str:
    """Return a name as that of a column: words are joined by underscores."""
    return "_".join(name.split())


NONE: Final = "–"
# Columns that only the page shows where a terminal would have too many.
OPTIONAL: Final = ("rate", "loss", "MiB", "‖XᵀX−I‖", "diverged")
PAPER: Final = "paper’s Z %"


def table(study: Study, presentation: Mapping[str, Any], curves: Sequence[Curve], score: Score) -> Table:
    """Return the table for people."""
    published: Mapping[str, str] = presentation["published"]
    rows = [_cells(curve, score, published) for curve in curves]
    return Table(
        title=study.title or study.name,
        columns=tuple(rows[0]),
        rows=tuple(tuple(row.values()) for row in rows),
        notes=_notes(curves, score, bool(published)),
        links=tuple(tuple(result.run.identifier for result in curve.results) for curve in curves),
        optional=OPTIONAL,
    )


def frame(curves: Sequence[Curve], score: Score) -> pd.DataFrame:
    """Return a row a curve: what it is, and means over seeds with half of the widths of their 95 % intervals."""
    found = pd.DataFrame([_row(curve, score) for curve in curves])
    whole = [name for name in ("rank", "degrees_of_freedom") if name in found]
    return found.astype(dict.fromkeys(whole, "Int64"))


def _cells(curve: Curve, score: Score, published: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a row by the titles of their columns."""
    case, loss, error = curve.case, curve.training_loss.mean, curve.orthogonality_error
    cells = {"method": curve.line, "rank": NONE if case.rank is None else str(case.rank)}
    if curve.stored is None:
        cells["Z %"] = NONE if curve.z is None else f"{curve.z:.2f}"
    else:
        cells |= {"numbers": f"{curve.stored:,}", "dimension": f"{curve.dimension:,}"}
    if published:
        cells[PAPER] = published.get(case.title, NONE)
    cells["rate"] = f"{curve.learning_rate:.3g}" + "*" * curve.at_edge
    cells[f"test {score.name} {score.unit}".rstrip()] = score.text(curve.measure("test_score"))
    cells |= {title: curve.measure(f"test_{column(name)}").text(1.0, 3) for name, title in score.others.items()}
    cells["loss"] = NONE if loss is None else f"{loss:.3f}"
    cells["ms/step"] = _milliseconds(curve)
    cells["MiB"] = f"{curve.peak_memory:.0f}"
    cells["‖XᵀX−I‖"] = NONE if error is None else f"{error:.0e}"
    cells["diverged"] = f"{curve.diverged} of {len(curve.results)}"
    return cells


def _milliseconds(curve: Curve) -> str:
    median, quartiles = curve.step_milliseconds, curve.step_quartiles
    if median is None:
        return NONE
    return f"{median:.1f}" + (f" ({quartiles[0]:.1f} to {quartiles[1]:.1f})" if quartiles else "")


def _notes(curves: Sequence[Curve], score: Score, has_published: bool) -> tuple[str, ...]:
    loads = [curve.turn.load for curve in curves if curve.turn is not None and curve.turn.load is not None]
    if any(curve.turn is not None for curve in curves):
        load = f", at a load of {max(loads):.1f}" if loads else ""
        times = f"median time of a step with its quartiles, taken in turns on one worker{load}"
    else:
        times = "median time of a step in the runs themselves, which is not to be compared"
    sizes = {"Z": "parameters kept"}
    if any(curve.stored is not None for curve in curves):
        sizes = {"numbers": "stored by the change, without the head", "dimension": "of what these numbers reach"}
    words = sizes | {
        "rate": "the chosen learning rate; a * marks one at the edge of what was tried",
        f"test {score.name}": "mean over seeds ± half of the 95 % interval (Student’s t)",
        "loss": "training loss over the last steps, mean over seeds",
        "ms/step": times,
        "MiB": "peak memory",
        "‖XᵀX−I‖": "largest distance of a frame from orthogonality at any time",
        "diverged": "runs whose loss ceased to be finite; the means leave them out",
    }
    if score.others:
        words[", ".join(score.others.values())] = "on the test split; of a distance or loss less is better"
    if has_published:
        words[PAPER] = "as the paper prints it, where some digits are cut, not rounded"
    return tuple(f"{name}: {meaning}." for name, meaning in words.items())


def _row(curve: Curve, score: Score) -> dict[str, Any]:
    case, test = curve.case, curve.measure("test_score")
    row: dict[str, Any] = {"method": curve.method, "rank": case.rank, "spectrum": case.spectrum, **curve.factors}
    row |= {"z": curve.z, "degrees_of_freedom": curve.results[0].facts.get("degrees_of_freedom")}
    if curve.stored is not None:
        row |= {"stored": curve.stored, "dimension": curve.dimension}
    row |= {"learning_rate": curve.learning_rate, "at_edge": curve.at_edge}
    row |= {score.column: test.mean, f"{score.column}_half_width": test.half_width}
    row |= {column(title): curve.measure(f"test_{column(name)}").mean for name, title in score.others.items()}
    low, high = curve.step_quartiles or (None, None)
    row |= {"loss": curve.training_loss.mean, "step_milliseconds": curve.step_milliseconds}
    row |= {"step_milliseconds_low": low, "step_milliseconds_high": high, "peak_memory_mib": curve.peak_memory}
    row |= {"orthogonality_error": curve.orthogonality_error, "diverged": curve.diverged, "seeds": len(curve.results)}
    return row
