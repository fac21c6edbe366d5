"""`sttp check`: the geometry of all manifolds of this package, of a user's own, and of geoopt's Stiefel."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, final

import typer

from ..report.text import plain
from .options import Json

if TYPE_CHECKING:
    from rich.text import Text

    from ...manifolds.checks import CheckResult, Finding
    from .check_rows import Row

    Found = list[tuple[Row, tuple[CheckResult, CheckResult]]]

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


def check(
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
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the log-log plots and errors of each manifold to here.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="NxP", help="Shape of the points of a manifold of your own, such as 5x5.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the geometry of every manifold, metric, retraction and transport, beside geoopt's Stiefel manifolds.

    Exits with 1 if one of this package's fails, or of your own.
    """
    import torch

    from ..surroundings import Surroundings
    from .check_rows import Origin, requested_rows

    rows = requested_rows(names or (), None if shape is None else _sizes(shape))
    Surroundings(device=device)  # which refuses one that is not there
    torch.set_num_threads(1)  # on matrices as small as these, several wait for one another
    found = [(row, row.check(getattr(torch, dtype.value), device)) for row in rows]
    if plot is not None:
        _draw(found, plot)
    passed = all(_passed(results) for row, results in found if row.origin is not Origin.BESIDE)
    if as_json:
        manifolds = [
            {
                "name": row.name,
                "ours": row.origin is Origin.OURS,
                "passed": _passed(results),
                "checks": [result.to_dict() for result in results],
            }
            for row, results in found
        ]
        head = {"dtype": dtype.value, "device": device, "passed": passed}
        print(json.dumps({**head, "manifolds": manifolds}, indent=2))
    else:
        _print(found, f"{dtype.value} on {device}")
    if not passed:
        raise typer.Exit(1)


def _passed(results: Iterable[CheckResult]) -> bool:
    return all(result.passed for result in results)


def _sizes(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise ValueError(f"--shape must be sizes such as 5x5, got {text!r}")
    return tuple(map(int, sizes))


def _draw(found: Found, folder: Path) -> None:
    """Write two plots a manifold, of its errors and of its slopes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--plot must be a folder to write to, got {str(folder)!r}: {error.strerror}") from None
    for row, (axioms, retraction) in found:
        name = row.name.replace(":", ".").replace(" ", "-")
        axioms.plot().savefig(folder / f"{name}-axioms.png", dpi=120)
        retraction.plot().savefig(folder / f"{name}-retraction.png", dpi=120)


def _print(found: Found, title: str) -> None:
    from rich.text import Text

    from .printing import empty_table, standard_output

    console, table = standard_output(), empty_table(f"Geometry, {title}", ("manifold", *COLUMNS), "center")
    for position, (row, results) in enumerate(found):
        findings = [finding for result in results for finding in result.findings]
        ends = position + 1 < len(found) and found[position + 1][0].origin is not row.origin
        cells = (_cell(findings, begins) for begins in COLUMNS.values())
        table.add_row(Text(plain(row.name)), *cells, end_section=ends)
    console.print(table)
    console.print(
        Text(
            "order: the slope of ‖R(tΞ) − (X + tΞ)‖ against t, at least 2 for a retraction. to Exp: the slope of "
            "‖R(tΞ) − Exp(tΞ)‖, 3 where a retraction claims second order. A dash: not implemented, or not claimed. "
            "geoopt's manifolds stand here for comparison.",
            style="dim",
        )
    )
    for row, results in found:
        for result in results:
            for finding in result.failures:
                words = str(finding).removeprefix("failed").strip()
                console.print(Text.assemble((plain(row.name), "red"), f": {plain(words)}"))


def _cell(findings: list[Finding], begins: tuple[str, ...]) -> Text:
    """Return one word for all findings of a column: a slope where there is one, or else ok, FAILED or a dash."""
    from rich.text import Text

    from ...manifolds.checks import Verdict

    column = [finding for finding in findings if finding.name.startswith(begins)]
    verdicts = {finding.verdict for finding in column}
    slopes = [finding.slope for finding in column if finding.slope is not None]
    word = "ok" if Verdict.PASSED in verdicts else "–"
    if slopes:
        measured = slopes[0].measured
        word = "exact" if slopes[0].is_exact else "none" if measured is None else f"{measured:.2f}"
    if Verdict.FAILED in verdicts:
        return Text(word if slopes else "FAILED", style="bold red")
    return Text(word)
