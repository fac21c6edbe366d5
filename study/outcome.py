"""What a study has led to, and the files that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from .definition import Study
from .folder import ResultsFolder, write_content
from .report.content import Content
from .report.page import render_page
from .report.pictures import drawn
from .report.tables import results_table, timings_table
from .report.text import plain
from .schedule import Results, pending_runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REPORT: Final = "report.html"


@final
@dataclass(frozen=True)
class Outcome:
    """A study with its results. A notebook shows its findings and its table.

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
        presentation = {**folder.presentation, "folder": str(folder.path)}  # which has the images that runs generate
        content = study.of.content(study, results, presentation, folder.turns())
        return cls(study, results, content, folder.path / REPORT, not pending_runs(study, results))

    @property
    def table(self) -> pd.DataFrame:
        """A row a case at its chosen learning rate, with means and intervals over seeds."""
        return self.content.frame()

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, in sentences."""
        return self.content.findings

    def plot(self, measure: str, against: str = "step") -> Figure:
        """Return a figure of a measure with 95 % intervals over seeds.

        Against steps or seconds it has a line a case and bands; else a point a case and bars, joined where cases differ
        in numbers alone. Where positive values span orders of magnitude, and over training fall by them, the axis is
        logarithmic and means are geometric.

        Args:
            measure: one of looks or of the end, such as ``"accuracy"`` or ``"loss"``, or a column of :attr:`table`.
            against: ``"step"``, ``"seconds"``, or what cases differ in, such as ``"z"`` or ``"rank"``: a value of
                theirs, or a column of :attr:`table`.

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

    def _repr_html_(self) -> str:
        findings = "".join(f"<li>{escape(plain(sentence))}</li>" for sentence in self.findings)
        table = self.table.map(lambda cell: plain(cell) if isinstance(cell, str) else cell)
        shown = table.to_html(index=False, border=0, na_rep="", max_rows=60, float_format=lambda value: f"{value:.4g}")
        return f"<p><b>{escape(plain(self.study.title or self.study.name))}</b></p><ul>{findings}</ul>{shown}"


def write_all(folder: ResultsFolder, results: Results) -> Outcome:
    """Write the tables of all runs, then what the study's kind makes of them, then the figures, then the page.

    What was computed is written before anything can fail that draws it; what cannot be drawn is said on the page.
    """
    study, path = folder.study, folder.path
    _write_tables(
        path,
        {"results.csv": lambda: results_table(study, results), "timings.csv": lambda: timings_table(study, results)},
    )
    outcome = Outcome.of(folder, results)
    _write_tables(path, outcome.content.csv)
    pictures = drawn(outcome.content.pictures)
    for picture in pictures:
        for ending, data in picture.files.items():
            write_content(path / f"{picture.name}.{ending}", data)
    write_content(outcome.report, render_page(outcome, folder, pictures))
    return outcome


def _write_tables(path: Path, tables: Mapping[str, Callable[[], pd.DataFrame]]) -> None:
    for name, table in tables.items():
        write_content(path / name, table().to_csv(index=False, lineterminator="\n"))
