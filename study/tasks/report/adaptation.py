"""What a report says and draws of fine-tuning: scores by the numbers of a change, against LoRA and the bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ...report.axes import logarithmic
from .curve import Curve, by_line
from .figures import draw_means, paneled
from .findings import paired, verdict
from .remarks import remarks
from .table import Score

Curves = Sequence[Curve]

REFERENCE: Final = "lora"
OURS: Final = "sttp-adapter"
SHARE: Final = 5  # the number of times that an adapter of ours is to be smaller than LoRA
WIDE: Final = (
    30  # ratio of its ends from which on an axis names powers of ten alone: panels are narrow, and numbers long
)
CHANGES: Final = (
    "All weights of a trained network are frozen. An adapter changes some of them: W(θ) in place of W, where θ alone "
    "is trained, and W(θ) = W at the start. What it costs is counted twice: the numbers θ that are stored, and the "
    "dimension of the set of W(θ) that they reach, which is smaller where some of them are redundant. The head is "
    "trained beside every change and counted in neither."
)
SAME_START: Final = (
    "All networks start from the same trained weights, and at one seed with the same head. Each method has its own "
    "published optimizer, or RiemannianAdam where its name says so."
)
# What each method is, by its name in definitions.
TERMS: Final = {
    "full": "All weights are trained: a bound from above on what adapters store.",
    "probe": "The head alone is trained: a bound from below.",
    "sttp-adapter": "W + c U diag(s) Vᵀ, with U and V tensor trains of frames on Stiefel manifolds.",
    "sttp-adapter-offset": "The same from s ≠ 0, which is taken off again.",
    "svdp-adapter": "The same with one frame a side.",
    "tied-sttp": "One spectral tensor train for the matrices of all layers.",
    "lora": "W + B A, B = 0 at the start (Hu et al. 2022).",
    "lora-preconditioned": "LoRA by Riemannian preconditioned Adam (Zhang & Pilanci 2024).",
    "pissa": "LoRA from the largest singular pairs of W (Meng et al. 2024).",
    "dora": "LoRA, and the lengths of the rows of W (Liu et al. 2024).",
    "oft": "W R, R block-diagonal and orthogonal, by the exact Cayley map (Qiu et al. 2023).",
    "hra": "W times Householder reflections (Yuan et al. 2024).",
    "psoft": "The largest singular pairs of W, rotated and rescaled.",
    "stella": "W + U S Vᵀ with U, V on Stiefel manifolds, less that at the start.",
    "loretta": "LoRA whose factors are tensor trains of free cores (Yang et al. 2024).",
    "lorta": "One CP tensor for the matrices of all layers (Hounie et al. 2024).",
    "joint": "W_j + L_j Vᵀ, V shared by the matrices of a layer.",
    "deep-lora": "W + W₃ W₂ W₁ (Yaras et al. 2024).",
    "soda": "The spectrum of W moved, its inputs rotated by a Kronecker product (Zhang et al. 2024).",
    "spectral-adapter": "The largest singular pairs of W moved (Zhang & Pilanci 2024).",
    "spectral-rotation": "These pairs rotated among each other, and rescaled.",
    "mpo": "W as a matrix product operator whose outer cores are trained (Liu et al. 2021).",
}


def is_adaptation(curves: Curves) -> bool:
    """Return whether what was compared are changes of a trained network."""
    return any(curve.stored is not None for curve in curves)


def adaptation_terms(curves: Curves) -> tuple[tuple[str, str], ...]:
    """Return the methods with what they are, each once whatever its optimizer."""
    first: dict[str, Curve] = {}
    for curve in curves:
        first.setdefault(curve.case.parameterization.partition(" ")[0], curve)
    return tuple((curve.title, TERMS[name]) for name, curve in first.items() if name in TERMS)


def adaptation_findings(curves: Curves, score: Score) -> tuple[str, ...]:
    """Return the sentences, those first that answer the study's question."""
    return (
        *_bounds(curves, score),
        *_at_a_share(curves, score),
        *_at_equal_rank(curves, score),
        *remarks(curves),
    )


def sizes_figure(curves: Curves, score: Score) -> Figure:
    """Plot the test score against stored numbers and against dimension; what has neither is a level line."""
    figure, panels = paneled(2, curves, height=2.6)
    for axes, measure in zip(panels, ("stored", "dimension"), strict=True):
        for group in by_line(curves).values():
            if _is_bound(group[0]):
                look, mean = group[0].look, group[0].measure("test_score").mean or 0.0
                axes.axhline(score.scale * mean, color=look.color, linestyle=look.line, linewidth=1.2)
            else:
                draw_means(axes, [getattr(curve, measure) for curve in group], group, score)
        logarithmic(axes, "x")
        low, high = axes.get_xlim()
        if high > WIDE * low:
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("stored numbers" if measure == "stored" else "dimension")
    panels[1].sharey(panels[0])
    panels[0].set_ylabel(f"test {score.title}")
    return figure


def _bounds(curves: Curves, score: Score) -> Iterator[str]:
    found = {curve.method: curve for curve in curves if _is_bound(curve) and curve.scores}
    words = [f"{curve.line} {score.scaled(curve.measure('test_score'))}" for curve in found.values()]
    if words:
        yield f"Bounds, in test {score.name}: {', '.join(words)}."


def _at_a_share(curves: Curves, score: Score) -> Iterator[str]:
    """Say how the largest adapter of ours with at most a share of the numbers of each LoRA does against it."""
    clauses = []
    for theirs in _of(curves, REFERENCE):
        small = [ours for ours in _of(curves, OURS) if SHARE * (ours.stored or 0) <= (theirs.stored or 0)]
        if small:
            ours = max(small, key=lambda curve: curve.stored or 0)
            difference = paired(ours.scores, theirs.scores)
            if difference.mean is not None:
                clauses.append(
                    f"{ours.name} ({ours.stored:,} numbers) against {theirs.name} ({theirs.stored:,}): "
                    f"{verdict(difference)} ({score.difference(difference)})"
                )
    if clauses:
        yield f"With at most 1/{SHARE} of LoRA’s numbers, in test {score.name}: {'; '.join(clauses)}."


def _at_equal_rank(curves: Curves, score: Score) -> Iterator[str]:
    """Sort all methods by how they do against LoRA of equal rank."""
    for theirs in _of(curves, REFERENCE):
        by_verdict: dict[str, list[str]] = {}
        for ours in curves:
            is_rival = ours.case.rank in (None, theirs.case.rank) and not _is_bound(ours) and ours is not theirs
            difference = paired(ours.scores, theirs.scores)
            if is_rival and difference.half_width is not None:
                by_verdict.setdefault(verdict(difference), []).append(f"{ours.line} ({score.difference(difference)})")
        clauses = [f"{words}: {', '.join(lines)}" for words, lines in by_verdict.items()]
        if clauses:
            yield f"Against {theirs.name}, in test {score.name}: {'; '.join(clauses)}."


def _of(curves: Curves, method: str) -> list[Curve]:
    return [curve for curve in curves if curve.method == method and curve.scores]


def _is_bound(curve: Curve) -> bool:
    return curve.method in ("full", "probe")
