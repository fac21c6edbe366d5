"""The commands together, and their exit codes.

0 on success, 2 on a bad argument, 1 on any other failure, 130 when interrupted. Whatever fails says in one line on the
standard error what to do.
"""

from __future__ import annotations

import os
import sys
from typing import Final, cast

import typer

from ..report.text import plain
from .check import check
from .compress import compress
from .report import report
from .study import plot, study

BAD_ARGUMENT: Final = 2
FAILURE: Final = 1
INTERRUPTED: Final = 130

# What typer raises for a command line that it cannot read: the base of its public exception, which typer either
# takes from click or has of its own, depending on its version.
UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)

app = typer.Typer(
    help="Geometric optimization of spectral tensor train layers: studies and compression reports.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
)
for _command in (study, plot, report, compress, check):
    app.command(_command.__name__)(_command)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Geometric optimization of spectral tensor train layers: studies and compression reports."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; what fails is told in one line on the standard error.

    Modules in the current folder can be imported, as with ``python -m``.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        code = app(arguments, prog_name="sttp", standalone_mode=False)
    except UsageError as error:
        words = error.format_message() if hasattr(error, "format_message") else str(error)
        return _refuse(f"{words.rstrip('.')}; see `sttp --help`", BAD_ARGUMENT)
    except (ValueError, TypeError) as error:
        return _refuse(str(error), BAD_ARGUMENT)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == __package__.partition(".")[0]:
            raise  # of this package nothing can be missing
        return _refuse(f"{error}; install what studies need with: pip install 'sttp-torch[study]'", FAILURE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (RuntimeError, OSError) as error:
        return _refuse(str(error), FAILURE)
    if code == INTERRUPTED:  # which is what some versions of typer make of the exception
        return _refuse("interrupted; what is finished is kept, and the same command goes on from there", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _refuse(words: str, code: int) -> int:
    rank = 0
    if "torch" in sys.modules:  # else this is not one of several processes yet
        from .. import processes

        rank = processes.rank()
    # What one of several processes refuses all of them do; a failure may be that of one alone.
    if rank == 0 or code == FAILURE:
        print("sttp: " + " ".join(plain(words).split()), file=sys.stderr)
    return code
