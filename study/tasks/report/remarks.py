"""What is to be said of the runs themselves: time, collapse of spectra, feasibility, divergence, edges of searches."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from ...metrics.spectra import LayerSpectrum
from ...report.content import listed
from ...report.intervals import is_clear_of_one, median_interval
from ...report.reached import on_searches
from ...result import Look
from .curve import Curve

Curves = Sequence[Curve]

# Methods whose steps those of others are compared with.
PACES: Final = ("sttp stiefel", "lora")

# A layer's spectrum has collapsed where its stable rank is below this share of what it was at the start.
COLLAPSED: Final = 0.5


def remarks(curves: Curves) -> Iterator[str]:
    """Yield the sentences."""
    yield from _speed(curves)
    yield from _collapse(curves)
    yield from _feasibility(curves)
    yield from on_searches({curve.name: curve.diverged for curve in curves}, {c.name: c.at_edge for c in curves})


def _speed(curves: Curves) -> Iterator[str]:
    """Compare times of steps that were taken in turns, where the interval of their ratio is clear of 1."""
    found: dict[tuple[str, str, bool], list[tuple[float, int | None]]] = {}
    for curve in curves:
        pace = _pace(curves, curve)
        if pace is None or curve.turn is None or pace.turn is None:
            continue
        ratios = curve.turn.times_as_long(pace.turn)
        if is_clear_of_one(median_interval(ratios)):
            ratio = statistics.median(ratios)
            found.setdefault((pace.line, curve.line, ratio > 1), []).append((ratio, curve.case.rank))
    for reference in dict.fromkeys(reference for reference, _, _ in found):
        clauses = [
            f"{line} {_range([ratio for ratio, _ in values])}{_at([rank for _, rank in values])}"
            for (other, line, _), values in found.items()
            if other == reference
        ]
        rule = "where its 95 % interval is clear of 1 by 5 % and more"
        yield f"Time of a step, that of {reference} being 1, {rule}: {listed(clauses)}."


def _pace(curves: Curves, curve: Curve) -> Curve | None:
    """Return the curve whose steps those of another are compared with: that of a pace of its rank, else `dense`."""
    others = [other for other in curves if other is not curve]
    rivals = [other for other in others if _is_pace(other, curve) and not _is_pace(curve, other)]
    return max(rivals or [other for other in others if other.is_dense], key=curve.likeness, default=None)


def _is_pace(curve: Curve, other: Curve) -> bool:
    return curve.method in PACES and curve.case.rank == other.case.rank


def _at(ranks: list[int | None]) -> str:
    known = [str(rank) for rank in ranks if rank is not None]
    return f" (rank {listed(known)})" if known else ""


def _range(ratios: list[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _collapse(curves: Curves) -> Iterator[str]:
    """Say where stable ranks fell, in studies that have normalized plain weights to compare with."""
    if not any(curve.is_normalized for curve in curves):
        return
    found = []
    for curve in curves:
        for result in [result for result in curve.results[:1] if result.looks]:
            first, last = (_of_layers(result.looks[k], "stable_rank") for k in (0, -1))
            layers = [layer for layer in last if layer in first and last[layer] < COLLAPSED * first[layer]]
            if layers:
                found.append(f"{curve.line} ({len(layers)} of {len(last)} layers: {', '.join(layers)})")
    rule = "a stable rank that ends below half of what it was at the start"
    if found:
        yield f"Spectral collapse, read as {rule}, shows in {'; '.join(found)}."
    else:
        yield f"Spectral collapse, read as {rule}, shows in no layer of any method."
    yield from _smallest_values(curves)


def _smallest_values(curves: Curves) -> Iterator[str]:
    """Say of each method how far the least of its singular values is below the largest of its layer."""
    clauses = []
    for curve in (curve for curve in curves if curve.case.spectrum != "identity"):
        for result in [result for result in curve.results[:1] if result.looks and result.looks[-1].spectra]:
            first, last = (_of_layers(result.looks[k], "smallest") for k in (0, -1))
            layer = min(last, key=lambda name: last[name])
            start = f", at the start {first[layer]:.2f}" if layer in first else ""
            clauses.append(f"{curve.line} {last[layer]:.2f} ({layer}{start})")
    if clauses:
        yield f"The smallest sᵢ / s₁ of any layer at the end: {'; '.join(clauses)}."


def _of_layers(look: Look, measure: Literal["stable_rank", "smallest"]) -> dict[str, float]:
    return {name: getattr(LayerSpectrum(tuple(values)), measure) for name, values in look.spectra.items()}


def _feasibility(curves: Curves) -> Iterator[str]:
    errors = [error for curve in curves if (error := curve.orthogonality_error) is not None]
    if errors:
        yield f"No frame in the table was ever further from orthogonality than ‖XᵀX − I‖ = {max(errors):.1e}."
