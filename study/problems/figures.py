"""The figures of a study of optimizers. No state of pyplot is touched: each function returns a figure of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from ..problems import Problem
from ..report.appearance import dress
from .appearance import look
from .comparison import Comparison, Entry
from .profiles import performance_ratios, profile
from .result import SOLVED

WIDTH: Final = 10.0  # inches; wider figures would be shrunk in the report, and their letters with them
# Measures of cost: what they are called, and their unit on an axis.
MEASURES: Final = {
    "evaluations": ("evaluations of the gradient", "steps: evaluations of the gradient"),
    "operations": ("operations in products", "millions of operations in products"),
    "seconds": ("seconds", "seconds"),
}
_UNITS: Final = {"evaluations": 1.0, "operations": 1e6, "seconds": 1.0}
# Cost ratios beyond this are drawn at the right edge.
MOST: Final = 100.0


def profile_figure(comparison: Comparison, tolerances: Sequence[float]) -> Figure:
    """Plot performance profiles: a row a tolerance, a column a measure of cost."""
    rows, columns = len(tolerances), len(MEASURES)
    figure = Figure(figsize=(WIDTH, 2.5 * rows + 0.9 + _legend_height(comparison)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    abscissa = np.geomspace(1, MOST, 400)
    for row, tolerance in enumerate(tolerances):
        for column, (measure, title) in enumerate((m, words[0]) for m, words in MEASURES.items()):
            axes = grid[row, column]
            ratios = performance_ratios(comparison.costs(tolerance, measure))
            for setting, ratio in ratios.items():
                style = look(comparison.settings.index(setting))
                axes.plot(abscissa, profile(ratio, abscissa), color=style.color, linestyle=style.line, linewidth=1.6)
            axes.set_xscale("log")
            axes.set_xlim(1, MOST)
            axes.set_ylim(-0.02, 1.02)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            _dress_small(axes)
            if row == 0:
                axes.set_title(title, fontsize=10)
            if row == rows - 1:
                axes.set_xlabel("times the least of all")
        grid[row, 0].set_ylabel(f"share of problems and starts\nwith gap ≤ {tolerance:g}")
    _legend(figure, comparison)
    return figure


def convergence_figure(comparison: Comparison) -> Figure:
    """Plot the gap against steps, operations and seconds, a row of panels a problem."""
    problems = comparison.problems
    figure = Figure(figsize=(WIDTH, 2.3 * len(problems) + 0.5 + _legend_height(comparison)), layout="constrained")
    grid = figure.subplots(len(problems), len(MEASURES), squeeze=False, sharey="row")
    for row, problem in enumerate(problems):
        entries = [entry for entry in comparison.entries if entry.problem == problem]
        for column, (measure, title) in enumerate((m, words[1]) for m, words in MEASURES.items()):
            axes = grid[row, column]
            for entry in entries:
                style = look(comparison.settings.index(entry.setting))
                costs, gaps = _typical(entry, measure)
                axes.plot(costs / _UNITS[measure], gaps, color=style.color, linestyle=style.line, linewidth=1.3)
            axes.set_yscale("log")
            if measure != "evaluations":
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter(NullFormatter())
            _dress_small(axes)
            if row == 0:
                axes.set_title(title, fontsize=10)
            if row == len(problems) - 1:
                axes.set_xlabel(title, fontsize=10)
        known = isinstance(problem, Problem)
        grid[row, 0].set_ylabel(f"{problem.label}\n{'relative gap' if known else 'relative loss'}", fontsize=9)
        if known:
            grid[row, 0].set_ylim(SOLVED / 5, 5)
            grid[row, 0].yaxis.set_major_locator(LogLocator(numticks=6))
            grid[row, 0].yaxis.set_minor_locator(NullLocator())
    _legend(figure, comparison)
    return figure


def orthogonality_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Plot the largest orthogonality error of each choice on each problem: one line a choice, a mark a problem."""
    rows = [(comparison, setting) for comparison in comparisons for setting in comparison.ordered]
    figure = Figure(figsize=(WIDTH * 0.75, 0.24 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = []
    for position, (comparison, setting) in enumerate(rows):
        names.append(f"{comparison.label(setting)}")
        entries = comparison.of(setting)
        for known, color, marker in ((True, "#0072B2", "o"), (False, "#D55E00", "s")):
            errors = [entry.orthogonality_error for entry in entries if isinstance(entry.problem, Problem) == known]
            axes.plot(
                [max(error, 1e-17) for error in errors],
                [position] * len(errors),
                marker,
                color=color,
                markersize=5,
                alpha=0.7,
                markeredgewidth=0,
            )
    last = 0
    for comparison in comparisons:
        count = len(comparison.ordered)
        axes.text(
            1.01,
            last + (count - 1) / 2,
            comparison.factor,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
        )
        last += count
        if last < len(rows):
            axes.axhline(last - 0.5, color="#999999", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("largest ‖XᵀX − I‖ over frames, looks and starts")
    handles = [
        Line2D([], [], color="#0072B2", marker="o", linestyle="", label="problem in float64"),
        Line2D([], [], color="#D55E00", marker="s", linestyle="", label="training in float32"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    _dress_small(axes)
    return figure


def _typical(entry: Entry, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Return costs and gaps of the start that ends in the middle of all."""
    results = sorted(entry.results, key=lambda result: result.final_gap)
    result = results[(len(results) - 1) // 2]
    costs, gaps = np.array(result.costs(measure), dtype=float), np.array(result.shortfalls)
    positive = costs > 0 if measure != "evaluations" else np.ones(len(costs), dtype=bool)
    return costs[positive], np.maximum(gaps[positive], SOLVED)


def _dress_small(axes: Axes) -> None:
    dress(axes)
    axes.tick_params(which="both", labelsize=8)


def _legend_height(comparison: Comparison) -> float:
    return 0.22 * math.ceil(len(comparison.ordered) / 4)


def _legend(figure: Figure, comparison: Comparison) -> None:
    handles = []
    for index, setting in enumerate(comparison.settings):
        if setting in comparison.ranks:
            style = look(index)
            label = comparison.label(setting)
            handles.append(Line2D([], [], color=style.color, linestyle=style.line, linewidth=1.8, label=label))
    figure.legend(handles=handles, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
