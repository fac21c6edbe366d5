"""What `sttp check` does: the geometry of every manifold of this package, and of geoopt's Stiefel beside it."""

from __future__ import annotations

import contextlib
import fnmatch
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import geoopt
import torch

from ..manifolds import (
    METRICS,
    QR,
    Cayley,
    Exponential,
    Grassmann,
    Householder,
    Polar,
    Retraction,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainShape,
    Transport,
    checks,
)
from ..manifolds.checks import CheckResult, Finding, Verdict
from .printing import empty_table, standard_output

# Tall, p > 1 and n > 2p: all parts of a tangent vector are there, and nothing takes long.
SHAPE: Final = (9, 4)

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
@dataclass(frozen=True)
class Entry:
    """A manifold of the table, and what it claims.

    Attributes:
        name: its name at the command line.
        manifold: the manifold.
        second_order: whether its retraction claims to be of second order; None claims nothing.
        isometric: whether its transport claims to keep inner products.
        uniform: whether its random points claim to prefer no direction.
        is_ours: whether a failure is ours; the others stand beside for comparison.
    """

    name: str
    manifold: geoopt.Manifold | SpectralTensorTrain
    second_order: bool | None = None
    isometric: bool = False
    uniform: bool = False
    is_ours: bool = True

    def check(self, dtype: torch.dtype, device: str) -> tuple[CheckResult, CheckResult]:
        """Return what the checks of the axioms and of the retraction find."""
        shape = None if isinstance(self.manifold, SpectralTensorTrain) else SHAPE
        axioms = checks.check_manifold(
            self.manifold, shape, isometric=self.isometric, uniform=self.uniform, dtype=dtype, device=device
        )
        retraction = checks.check_retraction(
            self.manifold, shape, second_order=self.second_order, dtype=dtype, device=device
        )
        return axioms, retraction


def entries() -> tuple[Entry, ...]:
    """Return all rows of the table."""
    second_order: dict[str, tuple[type[Retraction], ...]] = {
        "euclidean": (Polar, Exponential),
        "canonical": (Cayley, Exponential),
    }
    rows: list[Entry] = []
    for retraction in _retractions():
        ending = type(retraction).__name__.lower()
        if retraction.transport is not Transport.PROJECTION:
            ending += f"-{retraction.transport}"
        isometric, uniform = retraction.transport is Transport.ISOMETRIC, retraction == QR()
        for metric in METRICS:
            is_second, manifold = isinstance(retraction, second_order[metric]), Stiefel(metric, retraction)
            rows.append(Entry(f"stiefel-{metric}-{ending}", manifold, is_second, isometric, uniform))
        rows.append(Entry(f"grassmann-{ending}", Grassmann(retraction), True, isometric, uniform))
    shape = TrainShape((2, 2), (3,), 2)
    geometries = (Riemannian(), Riemannian(redundant=False), Householder(redundant=True), Householder())
    rows.extend(Entry(f"train-{geometry.name}", SpectralTensorTrain(shape, geometry)) for geometry in geometries)
    rows.sort(key=lambda row: row.name)
    return (
        *rows,
        Entry("geoopt-stiefel", geoopt.Stiefel(), is_ours=False),
        Entry("geoopt-euclidean-stiefel", geoopt.EuclideanStiefel(), is_ours=False),
        Entry("geoopt-euclidean-stiefel-exact", geoopt.EuclideanStiefelExact(), True, is_ours=False),
    )


def print_checks(
    names: Iterable[str],
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    as_json: bool = False,
    plot: Path | None = None,
) -> bool:
    """Print what the checks of the rows that the names or patterns name find, and return whether all of ours passed.

    Raises:
        ValueError: a name matches nothing, the device is not there, or the folder of the plots cannot be made.
    """
    chosen = select(names, entries())
    _require_device(device)
    with _one_thread():
        found = [(entry, entry.check(dtype, device)) for entry in chosen]
    passed = all(result.passed for entry, results in found if entry.is_ours for result in results)
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


def _retractions() -> list[Retraction]:
    """Return every retraction with every transport that it has."""
    kinds = (QR, Polar, Cayley, Exponential)
    every = (Transport.PROJECTION, Transport.DIFFERENTIAL)
    plain: list[Retraction] = [kind(transport=transport) for kind in kinds for transport in every]
    return [*plain, *(kind(transport=Transport.ISOMETRIC) for kind in (Cayley, Exponential))]


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
        axioms.plot().savefig(folder / f"{entry.name}-axioms.png", dpi=120)
        retraction.plot().savefig(folder / f"{entry.name}-retraction.png", dpi=120)


def _print(found: list[tuple[Entry, tuple[CheckResult, CheckResult]]], title: str) -> None:
    console, table = standard_output(), empty_table(f"Geometry, {title}", ("manifold", *COLUMNS), "center")
    for position, (entry, results) in enumerate(found):
        findings = [finding for result in results for finding in result.findings]
        follows = position + 1 < len(found) and found[position + 1][0].is_ours != entry.is_ours
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
