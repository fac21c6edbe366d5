"""The figures of a study. No state of pyplot is touched: each function returns a figure of its own."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ..curve import Method
from ..result import LAST_STEPS
from ..tasks.task import Task
from .appearance import appearance, dress
from .summary import CurveSummary

Summaries = Sequence[CurveSummary]

# Curves of one compression are set apart by this factor of Z, so that their points do not hide one another.
SPREAD: Final = 1.03
RESOLUTION: Final = 130  # dots an inch
PANEL: Final = 3.8  # inches
MAXIMUM_WIDTH: Final = 10.0  # inches; wider figures would be shrunk in the report, and their letters with them
FEASIBLE: Final = 1e-5
MAXIMUM_PANELS: Final = 5  # layers side by side
LETTER: Final = 0.072  # inches, of a legend's words
HANDLE: Final = 0.65  # inches, of what stands before and between them


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION, metadata={"Software": None})
    return buffer.getvalue()


def accuracy_figure(summaries: Summaries, task: Task) -> Figure:
    """Plot the test score against compression: every seed a point, a line through the means."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for method, group in _by_method(summaries).items():
        look = appearance(method)
        family = [other for other in _by_method(summaries) if other.parameterization == method.parameterization]
        shift = SPREAD ** (family.index(method) - (len(family) - 1) / 2)
        means = [
            (summary.z * shift, task.score_scale * summary.test.mean)
            for summary in group
            if summary.test.mean is not None
        ]
        for summary in group:
            scores = [task.score_scale * result.test.score for result in summary.results if result.test is not None]
            axes.plot(
                [summary.z * shift] * len(scores),
                scores,
                look.marker,
                color=look.color,
                alpha=0.45,
                markersize=5,
                markeredgewidth=0,
            )
        if means:
            axes.plot(
                *zip(*means, strict=True),
                color=look.color,
                linestyle=look.line,
                linewidth=1.8,
                marker=look.marker,
                markersize=8,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
        if method.is_dense and means:
            axes.axhline(means[0][1], color=look.color, linestyle=look.line, linewidth=1, alpha=0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([z for z in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if _within(z, [s.z for s in summaries])])
    axes.set_xlabel("compression Z: parameters kept, % (log scale; smaller is a smaller network)")
    axes.set_ylabel(f"test {task.titled_score}")
    dress(axes)
    _mark_ranks(axes, summaries, task.score_scale)
    figure.legend(handles=_handles(summaries), loc="outside right center", frameon=False, fontsize=9)
    return figure


def loss_figure(summaries: Summaries) -> Figure:
    """Plot the training loss against steps and against seconds, a row of panels a rank."""

    def draw(column: int, axes: Axes, summary: CurveSummary) -> None:
        runs = [result for result in summary.results if not result.diverged]
        losses = np.mean([_smoothed(np.array(result.losses)) for result in runs], axis=0)
        if column == 0:
            abscissa = np.arange(len(runs[0].losses)) + 1.0
        else:
            abscissa = np.mean([np.cumsum(result.timing.step_seconds) for result in runs], axis=0)
        look = appearance(summary.curve.method)
        axes.plot(abscissa[-len(losses) :], losses, color=look.color, linestyle=look.line, linewidth=1.5)

    figure, grid = _grid(_ranks(summaries), ["steps", "seconds of training"], summaries, draw, markers=False)
    for axes in grid.flat:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))
    for axes in grid[:, 0]:
        axes.set_ylabel(f"training loss\n(mean over {LAST_STEPS} steps and seeds)")
    return figure


def spectrum_figure(summaries: Summaries) -> Figure:
    """Plot the normalized singular values of each layer at the end, a row of panels a rank."""
    layers = _shown_layers(summaries)
    # Normalized plain weights are shown whole, against a share of their number: what they are about is the last values.
    whole = any(summary.curve.method.parameterization in ("sn", "sr") for summary in summaries)

    def draw(column: int, axes: Axes, summary: CurveSummary) -> None:
        runs = [result for result in summary.results if not result.diverged]
        values = np.array([result.snapshots[-1].singular_values[layers[column]] for result in runs])
        limit = min(values.shape[1], max((rank for rank in _ranks(summaries) if rank), default=values.shape[1]))
        if whole:
            limit = values.shape[1]
        normalized = (values / np.maximum(values[:, :1], np.finfo(float).tiny)).mean(axis=0)[:limit]
        look = appearance(summary.curve.method)
        axes.plot(
            (np.arange(limit) + 1) / (limit if whole else 1),
            normalized,
            color=look.color,
            linestyle=look.line,
            marker=look.marker,
            markersize=4,
            linewidth=1.3,
        )

    label = "index i / rank" if whole else "index i"
    figure, grid = _grid(_ranks(summaries), [label] * len(layers), summaries, draw, titles=layers)
    for axes in grid.flat:
        axes.set_ylim(0, 1.05)
        if whole:
            axes.set_xlim(0, 1.04)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4) if whole else MaxNLocator(integer=True))
    for axes in grid[:, 0]:
        axes.set_ylabel("sᵢ / s₁")
    return figure


def orthogonality_figure(summaries: Summaries) -> Figure:
    """Plot the largest distance of a frame from orthogonality over training, a panel a rank."""
    summaries = [summary for summary in summaries if not summary.curve.method.is_plain]

    def draw(column: int, axes: Axes, summary: CurveSummary) -> None:
        if summary.curve.rank != ranks[column]:
            return
        looks = [result.snapshots for result in summary.results if not result.diverged]
        errors = np.max([[look.orthogonality_error or 0.0 for look in snapshots] for snapshots in looks], axis=0)
        look = appearance(summary.curve.method)
        steps = [snapshot.step for snapshot in looks[0]]
        axes.plot(steps, errors, color=look.color, linestyle=look.line, marker=look.marker, markersize=5, linewidth=1.5)

    ranks = _ranks(summaries)
    titles = [f"rank {rank}" for rank in ranks]
    figure, grid = _grid([None], ["steps"] * len(ranks), summaries, draw, titles=titles)
    for axes in grid.flat:
        axes.set_yscale("log")
        axes.axhline(FEASIBLE, color="#999999", linewidth=1)
    if grid.size:
        grid[0, 0].set_ylabel("largest ‖XᵀX − I‖\n(over frames and seeds)")
        grid[0, 0].text(0, FEASIBLE, "tolerance", color="#666666", fontsize=8, va="bottom")
    return figure


def _grid(
    ranks: Sequence[int | None],
    labels: Sequence[str],
    summaries: Summaries,
    draw: Callable[[int, Axes, CurveSummary], None],
    titles: Sequence[str] | None = None,
    markers: bool = True,
) -> tuple[Figure, np.ndarray]:
    """Return a figure with a row a rank and a column a label; dense networks are drawn in all rows."""
    width = min(PANEL * max(len(labels), 2) + 1, MAXIMUM_WIDTH)
    height = 0.68 * (width / max(len(labels), 2)) * len(ranks) + 1
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(ranks), len(labels), squeeze=False, sharex="col", sharey=True)
    for row, rank in enumerate(ranks):
        for column, label in enumerate(labels):
            axes = grid[row, column]
            for summary in summaries:
                if rank is None or summary.curve.rank in (None, rank):
                    draw(column, axes, summary)
            heading = [] if rank is None else [f"rank {rank}"]
            heading += [titles[column]] if titles else []
            axes.set_title(", ".join(heading), fontsize=10, loc="left")
            if row == len(ranks) - 1:
                axes.set_xlabel(label)
            dress(axes)
    handles = _handles(summaries, markers)
    columns = _legend_columns(width, handles)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure, grid


def _legend_columns(width: float, handles: Sequence[Line2D]) -> int:
    """Return how many columns of a legend a figure of a width in inches has room for, four at the most."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return max(1, min(4, int(width / (LETTER * longest + HANDLE))))


def _handles(summaries: Summaries, markers: bool = True) -> list[Line2D]:
    looks = {method: appearance(method) for method in _by_method(summaries)}
    return [
        Line2D(
            [],
            [],
            color=look.color,
            linestyle=look.line,
            marker=look.marker if markers else "",
            markersize=6,
            label=method.title,
        )
        for method, look in looks.items()
    ]


def _mark_ranks(axes: Axes, summaries: Summaries, scale: float) -> None:
    """Write ranks to the lower right of the means of each compression, where the rising lines leave room."""
    lowest: dict[tuple[str, int], tuple[float, float]] = {}
    for summary in summaries:
        if summary.curve.rank is not None and summary.test.mean is not None:
            key = (summary.curve.method.parameterization, summary.curve.rank)
            lowest[key] = (summary.z, min(scale * summary.test.mean, lowest.get(key, (0.0, math.inf))[1]))
    for (_, rank), position in lowest.items():
        axes.annotate(
            f"rank {rank}",
            position,
            xytext=(16, -3),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=9,
            color="#555555",
        )


def _by_method(summaries: Summaries) -> dict[Method, list[CurveSummary]]:
    methods = dict.fromkeys(summary.curve.method for summary in summaries)
    return {method: [summary for summary in summaries if summary.curve.method == method] for method in methods}


def _ranks(summaries: Summaries) -> list[int | None]:
    ranks = sorted({s.curve.rank for s in summaries if s.curve.rank is not None})
    return [*ranks] if ranks else [None]


def _layers(summaries: Summaries) -> list[str]:
    for summary in summaries:
        for result in summary.results:
            if result.snapshots:
                return list(result.snapshots[0].singular_values)
    return []


def _shown_layers(summaries: Summaries) -> list[str]:
    """Return the layers of a network with a spectrum to show, of a deep one a few from the first to the last."""
    sizes = next((r.snapshots[0].singular_values for s in summaries for r in s.results if r.snapshots), {})
    layers = [layer for layer in _layers(summaries) if len(sizes[layer]) > 1] or _layers(summaries)
    if len(layers) <= MAXIMUM_PANELS:
        return layers
    return [layers[round(k * (len(layers) - 1) / (MAXIMUM_PANELS - 1))] for k in range(MAXIMUM_PANELS)]


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """Return the moving mean over the last steps."""
    width = min(LAST_STEPS, len(losses))
    return np.convolve(losses, np.full(width, 1 / width), mode="valid")


def _within(z: float, values: Sequence[float]) -> bool:
    return min(values, default=0) / 1.5 <= z <= max(values, default=0) * 1.5
