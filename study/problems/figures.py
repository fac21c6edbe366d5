"""The figures of a study of optimizers. No state of pyplot is touched: each function returns a figure of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from ..report.axes import add_legend, dress, handle, logarithmic
from ..report.text import label
from ..result import Result
from .comparison import Comparison, Entry, Words
from .measures import SOLVED, final_gap, performance_ratios, profile, shortfalls

WIDTH: Final = 10.0  # inches; wider figures would be shrunk in the report, and their letters with them
# Measures of cost: what they are called, their words on an axis, and their unit there.
MEASURES: Final = {
    "evaluations": ("evaluations of the gradient", "steps: evaluations of the gradient", 1.0),
    "operations": ("operations in products", "millions of operations in products", 1e6),
    "seconds": ("seconds", "seconds", 1.0),
}
# Cost ratios beyond this are drawn at the right edge.
MOST: Final = 100.0
# Errors below this are drawn at the left edge: some frames are orthonormal to the last digit.
LEAST: Final = 1e-17


def profile_figure(comparison: Comparison, tolerances: Sequence[float]) -> Figure:
    """Plot performance profiles: a row a tolerance, a column a measure of cost."""
    rows, columns = len(tolerances), len(MEASURES)
    figure = Figure(figsize=(WIDTH, 2.5 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    abscissa = np.geomspace(1, MOST, 400)
    for row, tolerance in enumerate(tolerances):
        for column, (measure, (title, *_)) in enumerate(MEASURES.items()):
            axes = grid[row, column]
            ratios = performance_ratios(comparison.costs(tolerance, measure))
            for choice, ratio in ratios.items():
                look = choice.look
                axes.plot(abscissa, profile(ratio, abscissa), color=look.color, linestyle=look.line, linewidth=1.6)
            axes.set_xlim(1, MOST)
            axes.set_ylim(-0.02, 1.02)
            logarithmic(axes, "x")
            _dress_small(axes)
            if row == 0:
                axes.set_title(title, fontsize=10)
            if row == rows - 1:
                axes.set_xlabel("times the least of all")
        grid[row, 0].set_ylabel(f"share of problems and starts\nwith gap ≤ {tolerance:g}")
    _legend(figure, comparison)
    return figure


def convergence_figure(comparison: Comparison) -> Figure:
    """Plot the gap against steps, operations and seconds, a row of panels a problem, with bands over starts."""
    problems = comparison.problems
    figure = Figure(figsize=(WIDTH, 2.3 * len(problems) + 0.5), layout="constrained")
    grid = figure.subplots(len(problems), len(MEASURES), squeeze=False, sharey="row")
    for row, problem in enumerate(problems):
        for column, measure in enumerate(MEASURES):
            _panel(grid[row, column], comparison, problem, measure)
            words = MEASURES[measure][1]
            if row == 0:
                grid[row, column].set_title(words, fontsize=10)
            if row == len(problems) - 1:
                grid[row, column].set_xlabel(words, fontsize=10)
        first = grid[row, 0]
        first.set_ylabel(f"{label(problem.label)}\n{'relative gap' if problem.is_known else 'loss'}", fontsize=9)
        if problem.is_known:
            first.set_ylim(SOLVED / 5, 5)
            first.yaxis.set_major_locator(LogLocator(numticks=6))
            first.yaxis.set_minor_locator(NullLocator())
    _legend(figure, comparison)
    return figure


def orthogonality_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Plot the largest orthogonality error of each choice on each problem: one line a choice, a mark a problem."""
    rows = [(comparison, choice) for comparison in comparisons for choice in comparison.ordered]
    figure = Figure(figsize=(WIDTH * 0.75, 0.24 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    styles = {True: ("#0072B2", "o", "problem in float64"), False: ("#D55E00", "s", "training in float32")}
    used = set()
    for position, (comparison, choice) in enumerate(rows):
        entries = comparison.entries_of(choice)
        for is_deterministic, (color, marker, _) in styles.items():
            errors = [e.orthogonality_error or 0.0 for e in entries if e.problem.is_deterministic == is_deterministic]
            if errors:
                used.add(is_deterministic)
                places = [max(error, LEAST) for error in errors]
                axes.plot(
                    places, [position] * len(errors), marker, color=color, markersize=5, alpha=0.7, markeredgewidth=0
                )
    last = 0
    for comparison in comparisons:
        count = len(comparison.ordered)
        middle, across = last + (count - 1) / 2, axes.get_yaxis_transform()
        axes.text(1.01, middle, label(comparison.plural), transform=across, va="center", fontsize=9)
        last += count
        if last < len(rows):
            axes.axhline(last - 0.5, color="#999999", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [label(choice.label) for _, choice in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("largest ‖XᵀX − I‖ over frames, looks and starts")
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=words)
        for key, (color, marker, words) in styles.items()
        if key in used
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    _dress_small(axes)
    return figure


def _panel(axes: Axes, comparison: Comparison, problem: Words, measure: str) -> None:
    unit = MEASURES[measure][2]
    for entry in (entry for entry in comparison.entries if entry.problem == problem):
        look, result = entry.choice.look, _typical(entry)
        costs, gaps = np.array(comparison.spent(entry, result, measure), dtype=float) / unit, _gaps(result)
        shown = costs > 0 if measure != "evaluations" else np.ones(len(costs), dtype=bool)
        axes.plot(costs[shown], gaps[shown], color=look.color, linestyle=look.line, linewidth=1.3)
        all_gaps = [_gaps(other) for other in entry.results]
        if all(len(found) == len(gaps) for found in all_gaps):  # a method of minimize looks where it likes
            low, high = np.min(all_gaps, axis=0), np.max(all_gaps, axis=0)
            axes.fill_between(costs[shown], low[shown], high[shown], color=look.color, alpha=0.1, linewidth=0)
    axes.set_yscale("log")
    if measure != "evaluations":
        logarithmic(axes, "x")
    _dress_small(axes)


def _typical(entry: Entry) -> Result:
    """Return the start that ends in the middle of all."""
    results = sorted(entry.results, key=final_gap)
    return results[(len(results) - 1) // 2]


def _gaps(result: Result) -> np.ndarray:
    return np.maximum(np.array(shortfalls(result)), SOLVED)


def _dress_small(axes: Axes) -> None:
    dress(axes)
    axes.tick_params(which="both", labelsize=8)


def _legend(figure: Figure, comparison: Comparison) -> None:
    shown = [choice for choice in comparison.choices if choice in comparison.ranks]
    add_legend(figure, [handle(choice.label, choice.look, marker=False) for choice in shown], "upper left", size=9)
