"""What a study has led to, and the files that say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from .definition import Study
from .folder import ResultsFolder, write_content
from .report.content import Content
from .report.page import render_page
from .report.pictures import drawn
from .report.tables import results_table, timings_table
from .schedule import Results, pending_runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True)
class Outcome:
    """A study with its results.

    Attributes:
        study: what was compared.
        results: of all finished runs.
        content: findings, tables and figures.
        report: the page.
        finished: whether all runs are there.
    """

    study: Study
    results: Results
    content: Content
    report: Path
    finished: bool

    @classmethod
    def of(cls, folder: ResultsFolder, results: Results) -> Outcome:
        """Return the outcome of the results that there are."""
        study = folder.study
        content = study.of.content(study, results, folder.presentation, folder.turns())
        return cls(study, results, content, folder.path / "report.html", not pending_runs(study, results))

    @property
    def table(self) -> pd.DataFrame:
        """A row a case at its chosen learning rate, with means and intervals over seeds."""
        return self.content.frame()

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, in sentences."""
        return self.content.findings

    def plot(self, measure: str, against: str = "step") -> Figure:
        """Return a figure of a measure, a line a case, with bands or bars over seeds.

        Args:
            measure: a measure of looks or of the end, such as ``"accuracy"`` or ``"loss"``.
            against: ``"step"``, ``"seconds"``, or a column of :attr:`table` such as ``"z"`` or ``"rank"``.

        Raises:
            ValueError: no result has this measure, or the table no such column; those there are, are listed.
        """
        from .report.plot import plot

        return plot(self, measure, against)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "study": self.study.to_dict(),
            "finished": self.finished,
            "report": str(self.report),
            "findings": list(self.findings),
            **self.content.values,
        }


def write_all(folder: ResultsFolder, results: Results) -> Outcome:
    """Write the tables, then draw the figures, then write the page; what cannot be drawn is said there."""
    outcome = Outcome.of(folder, results)
    study, path = outcome.study, folder.path
    tables = {"results.csv": lambda: results_table(study, results), "timings.csv": lambda: timings_table(study, results)}
    for name, table in {**tables, **outcome.content.csv}.items():
        # As many digits as float32 has where a column is not said to be exact.
        write_content(path / name, table().to_csv(index=False, lineterminator="\n"))
    pictures = drawn(outcome.content.pictures)
    for picture in pictures:
        for ending, data in picture.files.items():
            write_content(path / f"{picture.name}.{ending}", data)
    write_content(outcome.report, render_page(outcome, folder, pictures))
    return outcome
