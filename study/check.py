"""The command `sttp check`: the geometry of all manifolds of this package, of a user's own, and of geoopt's Stiefel."""

from __future__ import annotations

import contextlib
import enum
import fnmatch
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, final

import torch
import typer

from ..manifolds.checks import CheckResult, Finding, Verdict
from .check_entries import Entry, entries, own_entries
from .printing import empty_table, standard_output

# The columns of the table, by the beginnings of the findings' names.
COLUMNS: Final = {
    "tangents": ("point", "random", "projection", "dimension"),
    "metric": ("inner", "norm", "gradient"),
    "transport": ("transport linear", "transport tangent", "transport to", "transport along"),
    "isometry": ("transport isometric",),
    "geodesics": ("exponential", "logarithm", "distance"),
    "retraction": ("centred", "stays", "velocity"),
    "order": ("first order",),
    "to Exp": ("second order",),
}


@final
class Precision(enum.StrEnum):
    """The precisions that the checks know."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Manifolds to check, as names or patterns, 'grassmann-*', or your own manifold, retraction or "
            "geometry, as package.module:Class. All of this package's by default.",
        ),
    ] = None,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.FLOAT64,
    device: Annotated[str, typer.Option(help="Device, such as cpu or cuda.")] = "cpu",
    shape: Annotated[
        str | None, typer.Option(metavar="NxP", help="Shape of the points of manifolds of your own, such as 5x5.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the log-log plots and errors of each manifold to here.")
    ] = None,
) -> None:
    """Check the geometry of every manifold, metric, retraction and transport, beside geoopt's Stiefel manifolds.

    Exits with 1 if one of this package's fails, or of your own.
    """
    own = [name for name in names or () if ":" in name]
    ours = [name for name in names or () if name not in own]
    chosen = select(ours, entries()) if ours or not own else []
    points = None if shape is None else _shape(shape)
    if points is not None and not own:
        raise ValueError(
            f"--shape is for manifolds of your own, got {shape!r} and no package.module:Class; leave it out"
        )
    chosen += [entry for name in own for entry in own_entries(name, points)]
    precision = {Precision.FLOAT32: torch.float32, Precision.FLOAT64: torch.float64}[dtype]
    _require_device(device)
    with _one_thread():
        found = [(entry, entry.check(precision, device)) for entry in chosen]
    passed = all(result.passed for entry, results in found if entry.is_ours or entry.is_own for result in results)
    if plot is not None:
        _draw(found, plot)
    if as_json:
        rows = [
            {"name": entry.name, "ours": entry.is_ours, "passed": all(r.passed for r in results)}
            | {"checks": [result.to_dict() for result in results]}
            for entry, results in found
        ]
        typer.echo(json.dumps({"dtype": str(dtype), "device": device, "passed": passed, "manifolds": rows}, indent=2))
    else:
        _print(found, f"{dtype} on {device}")
    if not passed:
        raise typer.Exit(1)


def select(names: Iterable[str], rows: tuple[Entry, ...]) -> list[Entry]:
    """Return the rows that the names or patterns name, in the table's order; all rows where there are no names.

    Raises:
        ValueError: a name matches nothing.
    """
    names = tuple(names)
    for name in names:
        if not any(fnmatch.fnmatchcase(row.name, name) for row in rows):
            choices = ", ".join(row.name for row in rows)
            raise ValueError(f"NAME must be a manifold or a pattern, got {name!r}; there are {choices}")
    return [row for row in rows if not names or any(fnmatch.fnmatchcase(row.name, name) for name in names)]


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise ValueError(f"--shape must be sizes such as 5x5, got {text!r}")
    return tuple(map(int, sizes))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: on matrices as small as these, several wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _require_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device must be one that this machine has, got {device!r}: {reason}") from None


def _draw(found: list[tuple[Entry, tuple[CheckResult, CheckResult]]], folder: Path) -> None:
    """Write two plots a manifold, of its errors and of its slopes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--plot must be a folder to write to, got {str(folder)!r}: {error.strerror}") from None
    for entry, (axioms, retraction) in found:
        name = entry.name.replace(":", ".").replace(" ", "-")
        axioms.plot().savefig(folder / f"{name}-axioms.png", dpi=120)
        retraction.plot().savefig(folder / f"{name}-retraction.png", dpi=120)


def _print(found: list[tuple[Entry, tuple[CheckResult, CheckResult]]], title: str) -> None:
    console, table = standard_output(), empty_table(f"Geometry, {title}", ("manifold", *COLUMNS), "center")
    for position, (entry, results) in enumerate(found):
        findings = [finding for result in results for finding in result.findings]
        following = found[position + 1][0] if position + 1 < len(found) else entry
        follows = (following.is_ours, following.is_own) != (entry.is_ours, entry.is_own)
        table.add_row(entry.name, *(_cell(findings, begins) for begins in COLUMNS.values()), end_section=follows)
    console.print(table)
    console.print(
        "order: the slope of ‖R(tΞ) − (X + tΞ)‖ against t, at least 2 for a retraction. to Exp: the slope of "
        "‖R(tΞ) − Exp(tΞ)‖, 3 where a retraction claims second order. A dash: not implemented, or not claimed. "
        "geoopt's manifolds stand here for comparison.",
        style="dim",
    )
    for entry, results in found:
        for result in results:
            for finding in result.failures:
                console.print(
                    f"[red]{entry.name}[/red]: {str(finding).removeprefix('failed').strip()}", highlight=False
                )


def _cell(findings: list[Finding], begins: tuple[str, ...]) -> str:
    """Return one word for all findings of a column: a slope where there is one, or else ok, FAILED or a dash."""
    column = [finding for finding in findings if finding.name.startswith(begins)]
    verdicts = {finding.verdict for finding in column}
    slopes = [finding.slope for finding in column if finding.slope is not None]
    word = "ok" if Verdict.PASSED in verdicts else "–"
    if slopes:
        measured = slopes[0].measured
        word = "exact" if slopes[0].is_exact else "none" if measured is None else f"{measured:.2f}"
    return f"[bold red]{word if slopes else 'FAILED'}[/]" if Verdict.FAILED in verdicts else word
