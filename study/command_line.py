"""The command `sttp`.

Exit codes: 0 on success, 2 on a bad argument, 1 on any other failure, 130 when interrupted. Whatever fails says in one
line on the standard error what to do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import rich.box
import torch
import typer
from rich.console import Console
from rich.table import Table

from ..layers import CompressionReport, report
from .check import check_command
from .configuration import read_study
from .networks import NETWORKS
from .parameterizations import PARAMETERIZATIONS, SPECTRA, specification
from .study import STUDIES, Study, named_study
from .validation import choose

if TYPE_CHECKING:
    from .conduct import Outcome

BAD_ARGUMENT: Final = 2
FAILURE: Final = 1
INTERRUPTED: Final = 130

# What typer raises for a command line that it cannot read: the base of its public exception, which typer either
# takes from click or has of its own, depending on its version.
UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)

# Wide enough for any table where there is no terminal to fit.
PIPE_WIDTH: Final = 120

app = typer.Typer(
    help="Geometric optimization of spectral tensor train layers: studies and compression reports.",
    add_completion=False,
    no_args_is_help=False,
)


def integer(text: str) -> int:
    """Read an integer from the command line."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no integer; give one such as 8") from None


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs and no table.")]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Geometric optimization of spectral tensor train layers: studies and compression reports."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("study")
def study_command(
    name: Annotated[str, typer.Argument(help=f"A built-in study ({', '.join(STUDIES)}), or a TOML file.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default results/NAME.")] = None,
    workers: Annotated[int | None, typer.Option(parser=integer, help="Runs at once; by default one a core.")] = None,
    executor: Annotated[str, typer.Option(help="loky (worker processes) or sequential.")] = "loky",
    as_json: Json = False,
) -> None:
    """Run a comparison study, or go on with one that was interrupted, and write its tables, plots and report."""
    from .conduct import run_study  # needs the extra `study`
    from .progress import ProgressDisplay

    definition = _study(name)
    folder = Path("results") / definition.name if output is None else output
    with ProgressDisplay() as display:
        outcome = run_study(definition, folder, executor, workers, display)
    _print_outcome(outcome, as_json)


@app.command("plot")
def plot_command(
    folder: Annotated[Path, typer.Argument(help="A folder of results that `sttp study` wrote.")],
    as_json: Json = False,
) -> None:
    """Redraw tables, plots and the report from a folder of results; nothing is run."""
    from .conduct import redraw  # needs the extra `study`

    _print_outcome(redraw(folder), as_json)


@app.command("report")
def report_command(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}.")],
    parameterization: Annotated[str, typer.Option(help=f"One of {', '.join(PARAMETERIZATIONS)}.")] = "sttp",
    rank: Annotated[int, typer.Option(parser=integer, help="Bound on the ranks, at least 1.")] = 64,
    spectrum: Annotated[str, typer.Option(help=f"One of {', '.join(SPECTRA)}.")] = "free",
    skip: Annotated[
        list[str] | None, typer.Option(help="A layer, or a pattern of layers, to leave dense; may be repeated.")
    ] = None,
    base_width: Annotated[
        int | None, typer.Option(parser=integer, help="Width of another form of the network.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the degrees of freedom of a network's layers, and its compression Z in percent."""
    entry = choose("network", network, NETWORKS)
    with torch.device("meta"):
        built = entry.build(base_width)
    counted = report(built, specification(parameterization, rank, spectrum), (*entry.skip, *(skip or ())))
    if as_json:
        print(json.dumps(counted.to_dict()))
    else:
        title = f"{network}, {parameterization}, rank {rank}, spectrum {spectrum}"
        _console().print(_compression_table(counted, title))


app.command("check")(check_command)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; what fails is told in one line on the standard error."""
    try:
        code = app(arguments, prog_name="sttp", standalone_mode=False)
    except UsageError as error:
        words = error.format_message() if hasattr(error, "format_message") else str(error)
        return _refuse(f"{words.rstrip('.')}; see `sttp --help`", BAD_ARGUMENT)
    except (ValueError, TypeError) as error:
        return _refuse(str(error), BAD_ARGUMENT)
    except ModuleNotFoundError as error:
        return _refuse(f"{error}; install what studies need with: pip install 'sttp-torch[study]'", FAILURE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (RuntimeError, OSError) as error:
        return _refuse(str(error), FAILURE)
    if code == INTERRUPTED:  # which is what some versions of typer make of the exception
        return _refuse("interrupted; what is finished is kept, and the same command goes on from there", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _refuse(words: str, code: int) -> int:
    print("sttp: " + " ".join(words.split()), file=sys.stderr)
    return code


def _study(name: str) -> Study:
    """Return a built-in study, or the one in a TOML file."""
    if name not in STUDIES and (name.endswith(".toml") or Path(name).is_file()):
        return read_study(Path(name))
    return named_study(name)


def _print_outcome(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print(json.dumps(outcome.to_dict(), allow_nan=False))
        return
    from .tables import column_titles, summary_rows

    console = _console()
    title = outcome.study.title or outcome.study.name
    console.print(_table(title, column_titles(outcome.study), summary_rows(outcome.summaries)))
    for sentence in outcome.findings:
        console.print(f"• {sentence}", highlight=False)
    if not outcome.finished:
        console.print("The study is not finished; `sttp study` goes on with it.")
    console.print(f"Report: {outcome.report}", soft_wrap=True, highlight=False)


def _compression_table(counted: CompressionReport, title: str) -> Table:
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
    return _table(title, ("layer", "matrix", "rank", "freedom", "dense", "%"), rows)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    return table
