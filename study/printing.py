"""Tables for people and JSON for programs, on the standard output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

import rich.box
from rich.console import Console
from rich.table import Table

from ..layers import CompressionReport
from .study import Study

if TYPE_CHECKING:
    from .conduct import Outcome
    from .estimate import Estimate
    from .optimization.conduct import OptimizerOutcome

# Wide enough for any table where there is no terminal to fit: rich would squeeze it.
PIPE_WIDTH: Final = 132


def print_estimate(study: Study, estimate: Estimate, as_json: bool) -> None:
    """Print what the runs of a study will take."""
    if as_json:
        print(json.dumps(estimate.to_dict(), allow_nan=False))
        return
    console = standard_output()
    console.print(_table(study.title or study.name, *estimate.table()))
    for sentence in estimate.sentences():
        console.print(sentence, highlight=False)


def print_outcome(outcome: Outcome | OptimizerOutcome, as_json: bool) -> None:
    """Print what a study has led to."""
    if as_json:
        print(json.dumps(outcome.to_dict(), allow_nan=False))
        return
    console = standard_output()
    for title, columns, rows in outcome.tables():
        console.print(_table(title, columns, rows))
    for sentence in outcome.findings:
        console.print(f"• {sentence}", highlight=False)
    if not outcome.finished:
        console.print("The study is not finished; `sttp study` goes on with it.")
    console.print(f"Report: {outcome.report}", soft_wrap=True, highlight=False)


def print_compression(counted: CompressionReport, title: str) -> None:
    """Print the degrees of freedom of a network's layers."""
    rows = [
        (
            layer.name,
            f"{layer.rows} × {layer.columns}",
            str(layer.rank),
            f"{layer.dof:,}",
            f"{layer.dense:,}",
            f"{100 * layer.dof / layer.dense:.3f}",
        )
        for layer in counted.layers
    ]
    rows.append(("all other parameters", "", "", f"{counted.kept:,}", f"{counted.kept:,}", ""))
    total, dense = counted.dof + counted.kept, counted.dense + counted.kept
    rows.append(("network", "", "", f"{total:,}", f"{dense:,}", f"Z = {counted.z:.3f}"))
    standard_output().print(_table(title, ("layer", "matrix", "rank", "freedom", "dense", "%"), rows))


def standard_output() -> Console:
    """Return the console of the standard output, as wide as the terminal or where there is none as any table."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def empty_table(title: str, columns: Iterable[str], justify: Literal["right", "center"] = "right") -> Table:
    """Return a table without rows, whose first column is the name of each.

    Args:
        title: above it.
        columns: titles of the columns.
        justify: how all columns but the first are set.
    """
    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else justify, no_wrap=index == 0)
    return table


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = empty_table(title, columns)
    for row in rows:
        table.add_row(*row)
    return table
