"""What `sttp check` does: the geometry of all manifolds of this package, of a user's own, and of geoopt's Stiefel."""

from __future__ import annotations

import contextlib
import fnmatch
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import torch

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


def print_checks(
    names: Iterable[str],
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    as_json: bool = False,
    plot: Path | None = None,
    shape: str | None = None,
) -> bool:
    """Print what the checks of some rows find, and return whether all passed that are not there to compare with.

    Args:
        names: names or patterns of rows, or ``package.module:object`` for what the user brings; all of ours where there
            are none.
        dtype: precision.
        device: where tensors are.
        as_json: print JSON.
        plot: a folder for plots.
        shape: of the points of a user's manifolds, such as ``"5x5"``.

    Raises:
        ValueError: a name matches nothing or cannot be imported, the device is not there, the shape is none, or the
            folder of the plots cannot be made.
    """
    names = tuple(names)
    own = [name for name in names if ":" in name]
    ours = [name for name in names if name not in own]
    chosen = select(ours, entries()) if ours or not own else []
    if shape is not None and not own:
        raise ValueError(
            f"--shape is for manifolds of your own, got {shape!r} and no package.module:Class; leave it out"
        )
    points = None if shape is None else _shape(shape)
    chosen += [entry for name in own for entry in own_entries(name, points)]
    _require_device(device)
    with _one_thread():
        found = [(entry, entry.check(dtype, device)) for entry in chosen]
    passed = all(result.passed for entry, results in found if entry.is_ours or entry.is_own for result in results)
    if plot is not None:
        _draw(found, plot)
    if as_json:
        rows = [
            {"name": entry.name, "ours": entry.is_ours, "passed": all(r.passed for r in results)}
            | {"checks": [result.to_dict() for result in results]}
            for entry, results in found
        ]
        precision = str(dtype).removeprefix("torch.")
        print(json.dumps({"dtype": precision, "device": device, "passed": passed, "manifolds": rows}, indent=2))
    else:
        _print(found, f"{str(dtype).removeprefix('torch.')} on {device}")
    return passed


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
