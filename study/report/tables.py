"""Results as tables: of all runs for programs, and those of the report as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from ..schedule import Results, chosen_runs, planned_runs
from .content import Table
from .text import plain

if TYPE_CHECKING:
    from ..definition import Study

_LATEX: Final = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"‖": r"$\|$", "ᵀ": r"$^\top$", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "µ": r"$\mu$", "μ": r"$\mu$"}
    | {"–": "--", "≤": r"$\leq$", "≥": r"$\geq$", "ᵢ": "$_i$", "₁": "$_1$", "₂": "$_2$", "²": "$^2$", "’": "'"}
    | {"“": "``", "”": "''", "σ": r"$\sigma$", "Σ": r"$\Sigma$", "→": r"$\to$", "∞": r"$\infty$"}
)


def results_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a finished run, in the study's order, with nothing that differs between two executions."""
    chosen = {run for case in study.cases for run in chosen_runs(study, case, results)}
    found = [run for run in planned_runs(study, results) if run in results]
    return _frame([{"run": r.identifier, **study.of.columns(study, results[r], r in chosen)} for r in found])


def timings_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a finished run with what it cost."""
    found = [run for run in planned_runs(study, results) if run in results]
    return _frame([{"run": r.identifier, "name": plain(r.name), **study.of.costs(study, results[r])} for r in found])


def to_csv(table: Table) -> str:
    """Return a table of the report as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([plain(cell) for cell in row] for row in _lines(table))
    return buffer.getvalue()


def to_latex(table: Table) -> str:
    """Return a table of the report as LaTeX, for the package booktabs."""
    head, *body = (" & ".join(plain(cell).translate(_LATEX) for cell in row) + r" \\" for row in _lines(table))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _lines(table: Table) -> Sequence[tuple[str, ...]]:
    return (table.columns, *table.rows)


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a table in which whole numbers stay whole where some of a column are missing."""
    frame = pd.DataFrame(rows)
    for name in frame:
        values = [row.get(str(name)) for row in rows]
        if None in values and all(type(value) is int for value in values if value is not None):
            frame[name] = frame[name].astype("Int64")
    return frame
