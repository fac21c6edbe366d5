"""What a study found, in sentences that are computed from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from ..metrics.spectra import LayerSpectrum, stable_ranks
from ..result import Snapshot
from ..tasks.task import Task
from .intervals import Interval
from .summary import CurveSummary

Summaries = Sequence[CurveSummary]

# Two compressions count as about equal up to this factor: within it, accuracy at equal size is compared.
ABOUT_EQUAL: Final = 1.35
# A layer's spectrum has collapsed where its stable rank is below this share of what it was at the start.
COLLAPSED: Final = 0.5
# The STTP geometries in sentences.
NAMES: Final = {
    "stiefel": "STTP on the product of Stiefel manifolds",
    "grassmann": "STTP with gauge-fixed (Grassmann) frames",
    "householder-reduced": "STTP in the paper’s reduced Householder charts",
}


def findings(summaries: Summaries, task: Task) -> list[str]:
    """Return the sentences, those first that answer the study's questions."""
    return [
        *_reference(summaries, task),
        *_comparisons(summaries, task),
        *_collapse(summaries),
        *_feasibility(summaries),
        *_divergence(summaries),
        *_edges(summaries),
    ]


def _reference(summaries: Summaries, task: Task) -> Iterator[str]:
    for summary in summaries:
        if summary.curve.method.is_dense and summary.test.mean is not None:
            yield f"The dense network reaches a test {task.score_name} of {task.scaled(summary.test)}."


def _comparisons(summaries: Summaries, task: Task) -> Iterator[str]:
    """Compare curves of one spectrum with each other, spectrum by spectrum where there are several."""
    spectra = list(dict.fromkeys(s.curve.spectrum for s in summaries if s.curve.rank is not None))
    for spectrum in spectra:
        of_one = [summary for summary in summaries if summary.curve.spectrum == spectrum]
        for sentence in (*_equal_size(of_one, task), *_charts(of_one, task), *_gauge(of_one, task)):
            yield sentence if len(spectra) == 1 else f"With the spectrum {spectrum}: {sentence}"


def _equal_size(summaries: Summaries, task: Task) -> Iterator[str]:
    """Compare STTP with SVDP where their compressions are nearest to each other, averaged over the geometries."""
    families = {name: _by_rank(summaries, name) for name in ("svdp", "sttp")}
    pairs = [(svdp, sttp) for svdp in families["svdp"].values() for sttp in families["sttp"].values()]
    if not pairs:
        return
    svdp, sttp = min(pairs, key=lambda pair: abs(math.log(pair[0][0].z / pair[1][0].z)))
    if not 1 / ABOUT_EQUAL < svdp[0].z / sttp[0].z < ABOUT_EQUAL:
        return
    difference = _paired(_mean_scores(sttp), _mean_scores(svdp))
    if difference.mean is None:
        return
    yield (
        f"STTP against SVDP at about equal size, in test {task.score_name}: {_verdict(difference, 'better', 'worse')} "
        f"({_points(difference, task)}). STTP at rank {sttp[0].curve.rank} keeps Z = {sttp[0].z:.1f} % of the "
        f"parameters, SVDP at rank {svdp[0].curve.rank} keeps {svdp[0].z:.1f} % (each the mean over its geometries)."
    )


def _charts(summaries: Summaries, task: Task) -> Iterator[str]:
    """Compare the product of Stiefel manifolds with the paper's non-redundant Householder charts, rank by rank."""
    yield from _duel(summaries, "stiefel", "householder-reduced", task)


def _gauge(summaries: Summaries, task: Task) -> Iterator[str]:
    """Compare the Riemannian geometries with each other."""
    yield from _duel(summaries, "grassmann", "stiefel", task)


def _duel(summaries: Summaries, first: str, second: str, task: Task) -> Iterator[str]:
    verdicts: dict[str, list[str]] = {}
    ratios = []
    for rank in _by_rank(summaries, "sttp"):
        ours, theirs = (_find(summaries, geometry, rank) for geometry in (first, second))
        if ours is None or theirs is None:
            continue
        difference = _paired(_scores(ours), _scores(theirs))
        if difference.mean is None:
            continue
        verdict = _verdict(difference, "better", "worse")
        verdicts.setdefault(verdict, []).append(f"rank {rank} ({_points(difference, task)})")
        if ours.step_milliseconds and theirs.step_milliseconds:
            ratios.append(theirs.step_milliseconds / ours.step_milliseconds)
    if not verdicts:
        return
    clauses = "; ".join(f"{verdict} at {', '.join(ranks)}" for verdict, ranks in verdicts.items())
    sentence = f"{NAMES[first]} against {NAMES[second]}, in test {task.score_name}: {clauses}."
    if ratios:
        sentence += f" A step of the latter takes {_range(ratios)} as long."
    yield sentence


def _collapse(summaries: Summaries) -> Iterator[str]:
    """Say where stable ranks fell, in studies that have normalized plain weights to compare with."""
    if not any(summary.curve.method.parameterization in ("sn", "sr") for summary in summaries):
        return
    found = []
    for summary in summaries:
        for result in summary.results[:1]:
            shares = stable_ranks(result)
            layers = [layer for layer, values in shares.items() if values[-1] < COLLAPSED * values[0]]
            if layers:
                found.append(
                    f"{summary.curve.method.title} ({len(layers)} of {len(shares)} layers: {', '.join(layers)})"
                )
    rule = "a stable rank that ends below half of what it was at the start"
    if found:
        yield f"Spectral collapse, read as {rule}, shows in {'; '.join(found)}."
    else:
        yield f"Spectral collapse, read as {rule}, shows in no layer of any method."
    yield from _smallest_values(summaries)


def _smallest_values(summaries: Summaries) -> Iterator[str]:
    """Say of each method how far the least of its singular values is below the largest of its layer."""
    clauses = []
    for summary in (summary for summary in summaries if summary.curve.spectrum != "identity"):
        for result in [result for result in summary.results[:1] if result.snapshots]:
            first, last = (_smallest(result.snapshots[k]) for k in (0, -1))
            layer = min(last, key=lambda name: last[name])
            clauses.append(f"{summary.curve.method.title} {last[layer]:.2f} ({layer}, at the start {first[layer]:.2f})")
    if clauses:
        yield f"The smallest sᵢ / s₁ of any layer at the end: {'; '.join(clauses)}."


def _smallest(snapshot: Snapshot) -> dict[str, float]:
    return {name: LayerSpectrum(values).smallest for name, values in snapshot.singular_values.items()}


def _feasibility(summaries: Summaries) -> Iterator[str]:
    errors = [error for summary in summaries if (error := summary.orthogonality_error) is not None]
    if errors:
        yield f"No frame in the table was ever further from orthogonality than ‖XᵀX − I‖ = {max(errors):.1e}."


def _divergence(summaries: Summaries) -> Iterator[str]:
    diverged = {str(summary.curve): summary.diverged for summary in summaries if summary.diverged}
    if diverged:
        listed = ", ".join(f"{name} ({count})" for name, count in diverged.items())
        yield f"Runs whose loss ceased to be finite, left out of the means: {listed}."
    else:
        yield "No run at a chosen learning rate diverged."


def _edges(summaries: Summaries) -> Iterator[str]:
    edges = [str(summary.curve) for summary in summaries if summary.at_edge]
    if edges:
        yield (
            "Learning rates marked * are the best of their curve at the edge of the grid, no further extension being "
            f"allowed; these curves might gain from a wider search: {', '.join(edges)}."
        )


def _by_rank(summaries: Summaries, parameterization: str) -> dict[int, list[CurveSummary]]:
    """Return a parameterization's summaries that have a score, by rank, all geometries together."""
    found: dict[int, list[CurveSummary]] = {}
    for summary in summaries:
        rank = summary.curve.rank
        if summary.curve.method.parameterization == parameterization and rank is not None and _scores(summary):
            found.setdefault(rank, []).append(summary)
    return found


def _find(summaries: Summaries, geometry: str, rank: int) -> CurveSummary | None:
    for summary in summaries:
        method = summary.curve.method
        if (method.parameterization, method.geometry, summary.curve.rank) == ("sttp", geometry, rank):
            return summary
    return None


def _scores(summary: CurveSummary) -> dict[int, float]:
    return {result.run.seed: result.test.score for result in summary.results if result.test is not None}


def _mean_scores(group: Sequence[CurveSummary]) -> dict[int, float]:
    """Return the mean over the group of the scores of each seed that all of it have."""
    scores = [_scores(summary) for summary in group]
    seeds = set.intersection(*map(set, scores))
    return {seed: sum(s[seed] for s in scores) / len(scores) for seed in sorted(seeds)}


def _paired(first: dict[int, float], second: dict[int, float]) -> Interval:
    """Return the interval of the differences, seed by seed: equal seeds share batches."""
    return Interval.of(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys()))


def _verdict(difference: Interval, better: str, worse: str) -> str:
    if difference.count == 1:
        return "one seed only, which has no interval"
    if not difference.excludes_zero or difference.mean is None:
        return "no clear difference"
    return better if difference.mean > 0 else worse


def _points(difference: Interval, task: Task) -> str:
    """Return a difference of scores with its sign, in points of a percentage or in the score's unit."""
    sign = "+" if (difference.mean or 0) >= 0 else ""
    unit = "points" if task.score_unit == "%" else task.score_unit
    text = difference.text(task.score_scale, task.score_digits)
    return f"{sign}{text} {unit}".rstrip().replace("-", "−")


def _range(ratios: list[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return f"{low} times" if low == high else f"{low} to {high} times"
