"""Figures of score, loss and feasibility. No state of pyplot is touched: each function returns its own figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ...report.axes import add_legend, dress, handle, logarithmic
from ...report.text import label
from ...result import LAST_STEPS
from .curve import Curve, by_line, ranks_of
from .table import Score

Curves = Sequence[Curve]

WIDTH: Final = 5.5  # inches: narrow enough that letters can be read on a phone
COLUMNS: Final = 2  # panels side by side
PANEL: Final = 2.1  # inches of height, of a panel in two columns
# Lines of one compression are set apart by this factor of Z, so that their points do not hide one another.
SPREAD: Final = 1.03
FEASIBLE: Final = 1e-5
POINTS: Final = 300  # of a line of losses; more are not seen
# Compressions that an axis names where they are in its range.
NAMED: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def has_accuracy(curve: Curve) -> bool:
    """Return whether a curve has a point in the figure of scores."""
    return bool(curve.scores) and curve.z is not None and curve.z > 0


def accuracy_figure(curves: Curves, score: Score) -> Figure:
    """Plot the test score against compression: means with their intervals over seeds, a line through them."""
    figure, (axes,) = paneled(1, curves, height=2.3)
    lines = by_line(curves)
    for line, group in lines.items():
        look = group[0].look
        family = [other for other, rivals in lines.items() if _sizes(rivals) & _sizes(group)]
        shift = SPREAD ** (family.index(line) - (len(family) - 1) / 2)
        means = draw_means(axes, [(curve.z or 0.0) * shift for curve in group], group, score)
        if group[0].is_dense:
            axes.axhline(means[0], color=look.color, linestyle=look.line, linewidth=1, alpha=0.6)
    logarithmic(axes, "x")
    sizes = [curve.z or 0.0 for curve in curves]
    axes.set_xticks([z for z in NAMED if min(sizes) / 1.5 <= z <= max(sizes) * 1.5])
    axes.set_xlabel("Z: parameters kept, % (smaller to the left)")
    axes.set_ylabel(f"test {score.title}")
    if score.unit == "%":  # a bar over few seeds may leave what a share can be
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -2.0), min(high, 102.0))
    _mark_ranks(axes, curves, score)
    return figure


def draw_means(axes: Axes, abscissae: Sequence[float], group: Curves, score: Score) -> list[float]:
    """Draw a line through the means of a line's curves over seeds, with their intervals; return the means."""
    look, found = group[0].look, [curve.measure("test_score") for curve in group]
    means = [score.scale * (interval.mean or 0.0) for interval in found]
    bars = [score.scale * (interval.half_width or 0.0) for interval in found]
    axes.errorbar(
        abscissae,
        means,
        yerr=bars if any(bars) else None,
        color=look.color,
        linestyle=look.line,
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
        marker=look.marker,
        markersize=7,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )
    return means


def loss_figure(curves: Curves) -> Figure:
    """Plot the training loss against steps and against seconds, a row of panels a rank, with bands over seeds."""
    ranks = ranks_of(curves)
    figure, panels = paneled(2 * len(ranks), curves, markers=False)
    for row, rank in enumerate(ranks):
        pair = panels[2 * row : 2 * row + 2]
        pair[1].sharey(pair[0])
        lowest = math.inf
        for curve in curves:
            if curve.case.rank in (None, rank):
                lowest = min(lowest, *(_draw_loss(axes, curve, axes is pair[1]) for axes in pair))
        for axes, words in zip(pair, ("steps", "seconds of training"), strict=True):
            heading(axes, rank_words(rank))
            if lowest > 0:
                logarithmic(axes, "y")
                axes.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if f"{v:e}"[0] in "25" else ""))
                axes.tick_params(axis="y", which="minor", labelsize=9)
            if row == len(ranks) - 1:
                axes.set_xlabel(words)
        pair[0].set_ylabel("training loss")
    return figure


def orthogonality_figure(curves: Curves) -> Figure:
    """Plot the largest distance of a frame from orthogonality over training, a panel a rank."""
    ranks = sorted({curve.case.rank for curve in curves}, key=lambda rank: rank or 0)
    figure, panels = paneled(len(ranks), curves)
    for column, (axes, rank) in enumerate(zip(panels, ranks, strict=True)):
        for curve in curves:
            if curve.case.rank == rank:
                steps, errors = _errors(curve)
                style: dict[str, Any] = {
                    "color": curve.look.color,
                    "linestyle": curve.look.line,
                    "marker": curve.look.marker,
                }
                axes.plot(steps, errors, markersize=5, linewidth=1.4, **style)
        axes.set_yscale("log")
        axes.axhline(FEASIBLE, color="#999999", linewidth=1)
        axes.sharey(panels[0])
        heading(axes, rank_words(rank))
        axes.set_xlabel("steps")
        if column % 2 == 0:
            axes.set_ylabel("largest ‖XᵀX − I‖")
    panels[0].annotate(
        "tolerance", (0.02, FEASIBLE), xycoords=("axes fraction", "data"), color="#666666", fontsize=9, va="top"
    )
    return figure


def paneled(
    count: int, lines: Curves = (), height: float = PANEL, *, markers: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a number of panels, two side by side, and below them a legend of the lines of curves."""
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    scaled = height if columns > 1 else 1.7 * height
    figure = Figure(figsize=(WIDTH, rows * scaled + 0.3), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes in panels[:count]:
        dress(axes)
    add_legend(figure, [handle(line, group[0].look, marker=markers) for line, group in by_line(lines).items()])
    return figure, panels[:count]


def heading(axes: Axes, *words: str) -> None:
    """Put a title above a panel."""
    title = textwrap.shorten(label(", ".join(word for word in words if word)), 34, placeholder="…")
    axes.set_title(title, fontsize=10, loc="left")


def rank_words(rank: int | None) -> str:
    """Return a rank as titles have it; nothing for none."""
    return "" if rank is None else f"rank {rank}"


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Return the moving mean over the last steps, ``(..., steps)``."""
    width = min(LAST_STEPS, losses.shape[-1])
    sums = np.cumsum(losses, axis=-1)
    sums = np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)
    means: np.ndarray = (sums[..., width:] - sums[..., :-width]) / width
    return means


def _draw_loss(axes: Axes, curve: Curve, against_seconds: bool) -> float:
    """Draw the mean over seeds and a band from the lowest to the highest; return the least value."""
    runs = [result for result in curve.finished if result.losses]
    count = min(len(result.losses) for result in runs)
    losses = smoothed(np.array([result.losses[:count] for result in runs]))
    abscissa = np.arange(count) + 1.0
    if against_seconds and curve.turn is not None:
        abscissa = abscissa * curve.turn.median
    elif against_seconds:
        abscissa = np.mean([np.cumsum(result.timing.step_seconds[:count]) for result in runs], axis=0)
    abscissa = abscissa[-losses.shape[1] :]
    shown = np.unique(np.linspace(0, losses.shape[1] - 1, POINTS).round().astype(int))
    losses, abscissa = losses[:, shown], abscissa[shown]
    look = curve.look
    if len(runs) > 1:
        low, high = losses.min(axis=0), losses.max(axis=0)
        axes.fill_between(abscissa, low, high, color=look.color, alpha=0.16, linewidth=0)
    axes.plot(abscissa, losses.mean(axis=0), color=look.color, linestyle=look.line, linewidth=1.4)
    return float(losses.min())


def _errors(curve: Curve) -> tuple[list[int], np.ndarray]:
    """Return steps, and the largest error over seeds after each."""
    found: dict[int, float] = {}
    for result in curve.finished:
        for look in result.looks:
            error = look.measures.get("orthogonality_error")
            if error is not None:
                found[look.step] = max(error, found.get(look.step, 0.0))
    steps = sorted(found)
    return steps, np.array([found[step] or np.nan for step in steps])


def _sizes(group: Curves) -> set[str]:
    """Return the compressions of a line, as far as a plot tells them apart."""
    return {f"{curve.z:.2g}" for curve in group}


def _mark_ranks(axes: Axes, curves: Curves, score: Score) -> None:
    """Write ranks to the lower right of the lowest means of each compression, where the rising lines leave room."""
    lowest: dict[tuple[str, int], tuple[float, float]] = {}
    for curve in curves:
        rank, mean = curve.case.rank, curve.measure("test_score").mean
        if rank is not None and mean is not None and not curve.is_foreign:
            key = (curve.case.parameterization, rank)
            lowest[key] = (curve.z or 0.0, min(score.scale * mean, lowest.get(key, (0.0, math.inf))[1]))
    for (_, rank), position in lowest.items():
        axes.annotate(
            rank_words(rank),
            position,
            xytext=(10, -3),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=9,
            color="#555555",
        )
