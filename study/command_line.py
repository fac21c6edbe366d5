"""The command `sttp`.

Exit codes: 0 on success, 2 on a bad argument, 1 on any other failure, 130 when interrupted. Whatever fails says in one
line on the standard error what to do.

Help is to come at once. What needs torch or the extra `study` is imported by the command that runs, never by this file.
"""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import Annotated, Final, cast, final

import typer

from .arguments import choose, require_known
from .choices import DATA_SETS, NETWORKS, PARAMETERIZATIONS, SPECTRA, STUDIES
from .surroundings import CHECKPOINT_SECONDS, THREADS, Surroundings

BAD_ARGUMENT: Final = 2
FAILURE: Final = 1
INTERRUPTED: Final = 130

# What `sttp study` is told of studies of every kind.
OF_ALL_STUDIES: Final = ("name", "output", "workers", "executor", "as_json")

# What typer raises for a command line that it cannot read: the base of its public exception, which typer either
# takes from click or has of its own, depending on its version.
UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)

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


def number(text: str) -> float:
    """Read a number from the command line."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number; give one such as 0.01") from None


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs and no table.")]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Geometric optimization of spectral tensor train layers: studies and compression reports."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("study")
def study_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=f"A built-in study ({', '.join(STUDIES)}), or a TOML file.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default results/NAME.")] = None,
    workers: Annotated[int | None, typer.Option(parser=integer, help="Runs at once; by default one a core.")] = None,
    executor: Annotated[str, typer.Option(help="loky (worker processes) or sequential.")] = "loky",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|NAME:PATH|PATH",
            help=f"Data set: {', '.join(DATA_SETS)}, or a folder or zip of images by class; by default the study's.",
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch the published archive to the data's folder, or the cache, if the data is not there. Nothing is "
            "fetched without this, or with --dry-run.",
        ),
    ] = False,
    size: Annotated[
        int | None, typer.Option(parser=integer, help="Height and width that images are resized to.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            parser=number, help="Of a paper-… study: S times the steps, √S times widths and ranks; at most 1."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key of the study; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print runs, Z, and time and memory measured on a few steps of noise; run nothing."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="Device of the runs, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(parser=integer, help="Threads of torch for each run.")] = THREADS,
    checkpoint_seconds: Annotated[
        float, typer.Option(parser=number, help="Seconds from one checkpoint inside a run to the next.")
    ] = CHECKPOINT_SECONDS,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files.")] = False,
    as_json: Json = False,
) -> None:
    """Run a comparison study, or go on with one that was interrupted, and write its tables, plots and report."""
    from .conduct import run_study  # needs the extra `study`
    from .optimization import optimizer_study
    from .printing import print_estimate, print_outcome
    from .progress import ProgressDisplay
    from .request import read_data, requested_study
    from .runs import processes

    if (compared := optimizer_study(name)) is not None:
        _refuse_options_of_trainings(context)
        from .optimization.conduct import run_optimizer_study

        with ProgressDisplay() as display:
            print_outcome(
                run_optimizer_study(compared, output or Path("results") / compared.name, executor, workers, display),
                as_json,
            )
        return
    require_known_study(name)
    chosen = None if data is None else read_data(data)
    definition = requested_study(name, chosen, size, scale, changes or ())
    if download:
        from .data import require_published

        require_published(definition.settings.data)
    surroundings = Surroundings(
        data=None if chosen is None else chosen.directory,
        download=download,
        device=device,
        threads=threads,
        checkpoint_seconds=checkpoint_seconds,
        tensorboard=tensorboard,
    )
    if dry_run:
        from .estimate import estimate_study  # needs the extra `study`

        print_estimate(definition, estimate_study(definition, surroundings, executor, workers), as_json)
        return
    folder = Path("results") / definition.name if output is None else output
    with ProgressDisplay(folder) as display:
        outcome = run_study(definition, folder, executor, workers, display, surroundings)
    if processes.rank() == 0:
        print_outcome(outcome, as_json)
    processes.end()


def _refuse_options_of_trainings(context: typer.Context) -> None:
    """Refuse options of `sttp study` that studies of optimizers do not have.

    Raises:
        ValueError: one was given.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in OF_ALL_STUDIES and source is not None and source.name == "COMMANDLINE":
            raise ValueError(
                f"{parameter.opts[0]} is for studies of trained networks, got it with {context.params['name']!r}, "
                f"which compares optimizers; leave it out, or give a TOML file with other keys (docs/optimizers.md)"
            )


@app.command("plot")
def plot_command(
    folder: Annotated[Path, typer.Argument(help="A folder of results that `sttp study` wrote.")],
    as_json: Json = False,
) -> None:
    """Redraw tables, plots and the report from a folder of results; nothing is run."""
    from .conduct import redraw  # needs the extra `study`
    from .optimization import holds_optimizer_study
    from .printing import print_outcome

    if holds_optimizer_study(folder):
        from .optimization.conduct import redraw_optimizer_study

        print_outcome(redraw_optimizer_study(folder), as_json)
        return
    print_outcome(redraw(folder), as_json)


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
    depth: Annotated[int | None, typer.Option(parser=integer, help="Depth of another wide residual network.")] = None,
    widen_factor: Annotated[
        int | None, typer.Option(parser=integer, help="How wide a wide residual network is, as in wrn-28-10.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the degrees of freedom of a network's layers, and its compression Z in percent."""
    import torch

    from ..layers import report
    from . import networks
    from .parameterizations import specification
    from .printing import print_compression

    entry = choose("network", network, networks.NETWORKS)
    options = {"depth": depth, "widen_factor": widen_factor}
    with torch.device("meta"):
        built = entry.build(base_width, **{name: value for name, value in options.items() if value is not None})
    counted = report(built, specification(parameterization, rank, spectrum), (*entry.skip, *(skip or ())))
    if as_json:
        print(json.dumps(counted.to_dict()))
    else:
        print_compression(counted, f"{network}, {parameterization}, rank {rank}, spectrum {spectrum}")


@final
class Precision(enum.StrEnum):
    """The precisions that the checks know."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


@app.command("check")
def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Manifolds to check, as names or patterns, 'grassmann-*', or a manifold, retraction or geometry of "
            "your own, as package.module:Class. By default all of this package's.",
        ),
    ] = None,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.FLOAT64,
    device: Annotated[str, typer.Option(help="Device, such as cpu or cuda.")] = "cpu",
    as_json: Json = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the log-log plots and errors of each manifold to here.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="NxP", help="Shape of the points of a manifold of your own, such as 5x5.")
    ] = None,
) -> None:
    """Check the geometry of every manifold, metric, retraction and transport, beside geoopt's Stiefel manifolds.

    Exits with 1 if one of this package's fails, or of your own.
    """
    import torch

    from .check import print_checks

    precision = {Precision.FLOAT32: torch.float32, Precision.FLOAT64: torch.float64}[dtype]
    if not print_checks(names or (), precision, device, as_json, plot, shape):
        raise typer.Exit(FAILURE)


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
    from .runs import processes

    # What one of several processes refuses all of them do; a failure may be that of one alone.
    if processes.rank() == 0 or code == FAILURE:
        print("sttp: " + " ".join(words.split()), file=sys.stderr)
    return code


def require_known_study(name: str) -> None:
    """Refuse what is neither a built-in study nor a file.

    Raises:
        ValueError: as said.
    """
    if not name.endswith(".toml") and not Path(name).is_file():
        require_known("study", name, STUDIES)
