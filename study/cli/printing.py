"""Tables for people and JSON for programs, on the standard output. Text is shown as it is: nothing in it is markup."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

import rich.box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..report.text import plain

if TYPE_CHECKING:
    from ...layers import CompressionReport
    from ..definition import Study
    from ..outcome import Outcome
    from .estimate import Estimate

# Wide enough for any table where there is no terminal to fit: rich would squeeze it.
PIPE_WIDTH: Final = 132


def print_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print what a study has led to."""
    if as_json:
        print(json.dumps(outcome.to_dict(), allow_nan=False))
        return
    console = standard_output()
    for table in outcome.content.tables:
        shown = [k for k, column in enumerate(table.columns) if column not in table.optional]
        rows = [[row[k] for k in shown] for row in table.rows]
        console.print(filled_table(table.title, [table.columns[k] for k in shown], rows))
    for sentence in outcome.findings:
        console.print(Text(f"• {plain(sentence)}"))
    if not outcome.finished:
        console.print(Text("The study is not finished; `sttp study` goes on with it."))
    console.print(Text(f"Report: {plain(str(outcome.report))}"), soft_wrap=True)


def print_estimate(study: Study, estimate: Estimate, as_json: bool) -> None:
    """Print what the runs of a study will take."""
    if as_json:
        print(json.dumps(estimate.to_dict(), allow_nan=False))
        return
    console = standard_output()
    console.print(filled_table(study.title or study.name, *estimate.table()))
    for sentence in estimate.sentences():
        console.print(Text(sentence))


def print_compression(counted: CompressionReport, title: str, bonds: bool = False) -> None:
    """Print the degrees of freedom of a network's layers, of trains with the ranks of all ``bonds`` if asked for."""
    named = {"fit error": "fit_error", "calibrated": "calibrated_error"}
    errors = [title for title, name in named.items() if any(getattr(layer, name) for layer in counted.layers)]
    rows = [
        (
            layer.name,
            f"{layer.rows} × {layer.columns}",
            " ".join(map(str, layer.ranks)) if bonds else str(layer.rank),
            f"{layer.dof:,}",
            f"{layer.dense:,}",
            f"{100 * layer.dof / layer.dense:.3f}",
            *(f"{getattr(layer, named[error]) or 0:.4f}" for error in errors),
        )
        for layer in counted.layers
    ]
    blank = [""] * len(errors)
    rows.append(("all other parameters", "", "", f"{counted.kept:,}", f"{counted.kept:,}", "", *blank))
    total, dense = counted.dof + counted.kept, counted.dense + counted.kept
    rows.append(("network", "", "", f"{total:,}", f"{dense:,}", f"Z = {counted.z:.3f}", *blank))
    columns = ("layer", "matrix", "ranks" if bonds else "rank", "freedom", "dense", "%", *errors)
    standard_output().print(filled_table(title, columns, rows))


@contextmanager
def compression_bar(steps: int) -> Iterator[Callable[[int, float], None] | None]:
    """Show on the standard error, if it is a terminal, that a network is fitted, and then the steps of recovery."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading, ranks and fits", total=None)
        yield lambda number, loss: bar.update(
            task, total=steps, completed=number + 1, description=f"recovery, {number + 1} of {steps}, loss {loss:.4f}"
        )


def standard_output() -> Console:
    """Return the console of the standard output, as wide as the terminal or where there is none as any table."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def empty_table(title: str, columns: Iterable[str], justify: Literal["right", "center"] = "right") -> Table:
    """Return a table without rows, whose first column is the name of each; the others are justified as said."""
    table = Table(title=Text(plain(title)), title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(Text(plain(column)), justify="left" if index == 0 else justify, no_wrap=index == 0)
    return table


def filled_table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table with rows of text."""
    table = empty_table(title, columns)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table
