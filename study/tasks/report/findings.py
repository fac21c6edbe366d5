"""What a study of trainings found, in sentences that are computed from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from ..._plain import Plain, short
from ...report.intervals import Interval
from .curve import Curve, by_line, size
from .remarks import remarks
from .table import Score

Curves = Sequence[Curve]

# Two compressions count as about equal up to this factor: within it, scores at equal size are compared.
ABOUT_EQUAL: Final = 1.35
# The STTP geometries in sentences.
NAMES: Final = {
    "stiefel": "STTP on the product of Stiefel manifolds",
    "grassmann": "STTP with gauge-fixed (Grassmann) frames",
    "householder-reduced": "STTP in the paper’s reduced Householder charts",
}


def findings(curves: Curves, score: Score) -> tuple[str, ...]:
    """Return the sentences, those first that answer the study's questions."""
    return (
        *_reference(curves, score),
        *_comparisons(curves, score),
        *_foreign(curves, score),
        *_factors(curves, score),
        *remarks(curves),
    )


def _reference(curves: Curves, score: Score) -> Iterator[str]:
    dense = [curve for curve in curves if curve.is_dense and curve.scores]
    for curve in dense:
        which = "" if len(dense) == 1 else f" ({curve.line})"
        yield f"The dense network{which} reaches a test {score.name} of {score.scaled(curve.measure('test_score'))}."


def _comparisons(curves: Curves, score: Score) -> Iterator[str]:
    """Compare curves of equal conditions with each other, such as one spectrum, conditions by conditions."""
    ranked = [curve for curve in curves if curve.case.rank is not None and not curve.is_foreign]
    for conditions, group in _by_conditions(ranked).items():
        for sentence in (
            *_equal_size(group, score),
            *_duel(group, "stiefel", "householder-reduced", score),
            *_duel(group, "grassmann", "stiefel", score),
        ):
            yield f"With the {conditions}: {sentence}" if conditions else sentence


def _by_conditions(curves: Curves) -> dict[str, list[Curve]]:
    """Return curves by what they have in common, in words: none where all have all of it in common."""
    names = {name for curve in curves for name in curve.conditions}
    differing = [
        name
        for name in ("spectrum", *sorted(names - {"spectrum"}))
        if len({repr(curve.conditions.get(name)) for curve in curves}) > 1
    ]
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        words = ", ".join(f"{name} {short(curve.conditions.get(name))}" for name in differing)
        found.setdefault(words, []).append(curve)
    return found


def _equal_size(curves: Curves, score: Score) -> Iterator[str]:
    """Compare STTP with SVDP where their compressions are nearest to each other, averaged over the geometries."""
    families = {name: _by_rank(curves, name) for name in ("svdp", "sttp")}
    pairs = [(svdp, sttp) for svdp in families["svdp"].values() for sttp in families["sttp"].values()]
    if not pairs:
        return
    svdp, sttp = min(pairs, key=lambda pair: abs(math.log(_z(pair[0]) / _z(pair[1]))))
    if not 1 / ABOUT_EQUAL < _z(svdp) / _z(sttp) < ABOUT_EQUAL:
        return
    difference = paired(_mean_scores(sttp), _mean_scores(svdp))
    if difference.mean is None:
        return
    yield (
        f"STTP against SVDP at about equal size, in test {score.name}: {verdict(difference)} "
        f"({score.difference(difference)}). STTP at rank {sttp[0].case.rank} keeps Z = {_z(sttp):.1f} % of the "
        f"parameters, SVDP at rank {svdp[0].case.rank} keeps {_z(svdp):.1f} % (each the mean over its geometries)."
    )


def _duel(curves: Curves, first: str, second: str, score: Score) -> Iterator[str]:
    """Compare two geometries of STTP rank by rank."""
    pairs = [
        (ours, theirs)
        for rank in _by_rank(curves, "sttp")
        if (ours := _find(curves, first, rank)) is not None and (theirs := _find(curves, second, rank)) is not None
    ]
    clauses = _clauses(pairs, score)
    if clauses:
        yield f"{NAMES[first]} against {NAMES[second]}, in test {score.name}: {clauses}."


def _foreign(curves: Curves, score: Score) -> Iterator[str]:
    """Compare methods from outside this package with ours of equal rank, those without ranks with the dense network."""
    for line, group in by_line([curve for curve in curves if curve.is_foreign]).items():
        pairs = [(ours, reference) for ours in group if (reference := _reference_of(curves, ours)) is not None]
        # A verdict on one seed would have no interval, and there may be many of somebody's methods.
        pairs = [pair for pair in pairs if paired(pair[0].scores, pair[1].scores).half_width is not None]
        for name in dict.fromkeys(reference.line for _, reference in pairs):
            clauses = _clauses([pair for pair in pairs if pair[1].line == name], score, with_sizes=True)
            yield f"{line} against {name}, in test {score.name}: {clauses}."


def _reference_of(curves: Curves, curve: Curve) -> Curve | None:
    """Return the curve of ours that a foreign one is compared with, the one of most equal conditions."""
    rank = curve.case.rank
    ours = [other for other in curves if not other.is_foreign and not other.is_normalized]
    rivals = [other for other in ours if other.case.rank == rank]

    def likeness(other: Curve) -> tuple[int, bool, bool]:
        return curve.likeness(other), other.case.parameterization == "sttp", other.case.geometry == "stiefel"

    return max(rivals, key=likeness, default=None)


def _factors(curves: Curves, score: Score) -> Iterator[str]:
    """Compare the values of every other factor with its first, over all curves that differ in it alone."""
    for name in dict.fromkeys(name for curve in curves for name in curve.factors):
        groups: dict[Plain, dict[str, Curve]] = {}
        for curve in curves:
            if curve.factors[name] is not None:
                rest = {other: value for other, value in curve.factors.items() if other != name}
                key = repr((curve.method, curve.case.rank, curve.case.spectrum, rest))
                groups.setdefault(curve.factors[name], {})[key] = curve
        first = next(iter(groups.items()), (None, {}))
        for value, group in list(groups.items())[1:]:
            shared = [key for key in group if key in first[1] and group[key].scores and first[1][key].scores]
            if shared:
                ours, theirs = (_mean_scores([found[key] for key in shared]) for found in (group, first[1]))
                difference = paired(ours, theirs)
                if difference.mean is not None:
                    yield (
                        f"{name} {short(value)} against {short(first[0])}, in test {score.name}, the mean over "
                        f"{len(shared)} curve{'s' * (len(shared) > 1)}: {verdict(difference)} "
                        f"({score.difference(difference)})."
                    )


def _clauses(pairs: Sequence[tuple[Curve, Curve]], score: Score, with_sizes: bool = False) -> str:
    """Return verdicts on pairs of equal rank in words, each with all pairs that it is true of."""
    verdicts: dict[str, list[str]] = {}
    for ours, theirs in pairs:
        difference = paired(ours.scores, theirs.scores)
        if difference.mean is not None:
            rank = "" if ours.case.rank is None else f"rank {ours.case.rank} "
            sizes = f"; Z = {size(ours.z)} against {size(theirs.z)}" if with_sizes else ""
            verdicts.setdefault(verdict(difference), []).append(f"{rank}({score.difference(difference)}{sizes})")
    at = "" if not pairs or pairs[0][0].case.rank is None else "at "
    return "; ".join(f"{verdict} {at}{', '.join(found)}" for verdict, found in verdicts.items())


def _by_rank(curves: Curves, parameterization: str) -> dict[int, list[Curve]]:
    """Return a parameterization's curves that have a score and a size, by rank, all geometries together."""
    found: dict[int, list[Curve]] = {}
    for curve in curves:
        rank = curve.case.rank
        if curve.case.parameterization == parameterization and rank is not None and curve.scores and curve.z:
            found.setdefault(rank, []).append(curve)
    return found


def _find(curves: Curves, geometry: str, rank: int) -> Curve | None:
    for curve in curves:
        if (curve.case.parameterization, curve.case.geometry, curve.case.rank) == ("sttp", geometry, rank):
            return curve
    return None


def _z(group: Curves) -> float:
    z = group[0].z
    assert z is not None, "curves without a size are not grouped"
    return z


def _mean_scores(group: Curves) -> dict[int, float]:
    """Return the mean over the group of the scores of each seed that all of it have."""
    scores = [curve.scores for curve in group]
    seeds = set.intersection(*map(set, scores))
    return {seed: sum(s[seed] for s in scores) / len(scores) for seed in sorted(seeds)}


def paired(first: dict[int, float], second: dict[int, float]) -> Interval:
    """Return the interval of the differences, seed by seed: equal seeds share batches."""
    return Interval.of(first[seed] - second[seed] for seed in sorted(first.keys() & second.keys()))


def verdict(difference: Interval) -> str:
    """Return whether a difference is one, in a word or two."""
    if difference.count == 1:
        return "one seed only, which has no interval"
    if not difference.excludes_zero or difference.mean is None:
        return "no clear difference"
    return "better" if difference.mean > 0 else "worse"
