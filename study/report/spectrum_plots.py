"""Figures of spectra over training, and of generated images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from ..metrics.spectra import stable_ranks
from .summary import CurveSummary

COLUMNS: Final = 3
WIDTH: Final = 10.0  # inches


def heat_map_figure(summaries: Sequence[CurveSummary]) -> Figure:
    """Draw the stable rank of every layer over training, a panel a method at its largest rank."""
    chosen = {summary.curve.method: summary for summary in summaries}  # the last of a method has its largest rank
    panels = [(summary, next(r for r in summary.results if not r.diverged)) for summary in chosen.values()]
    layers = max(len(stable_ranks(result)) for _, result in panels)
    rows = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(WIDTH, rows * max(1.8, 0.16 * layers + 0.9) + 0.5), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (summary, result) in zip(grid.flat, panels, strict=False):
        shares = stable_ranks(result)
        steps = [snapshot.step for snapshot in result.snapshots]
        mesh = axes.pcolormesh(
            _edges(steps), np.arange(len(shares) + 1), np.array(list(shares.values())), vmin=0, vmax=100, cmap="cividis"
        )
        first = axes is grid.flat[0] or list(grid.flat).index(axes) % COLUMNS == 0
        axes.set_yticks(np.arange(len(shares)) + 0.5, list(shares) if first else [""] * len(shares), fontsize=7)
        axes.tick_params(axis="x", labelsize=7)
        rank = "" if summary.curve.rank is None else f", rank {summary.curve.rank}"
        axes.set_title(f"{summary.curve.method.title}{rank}", fontsize=9, loc="left")
        axes.set_xlabel("steps", fontsize=8)
    figure.colorbar(mesh, ax=grid, label="stable rank, % of the rank", shrink=0.8)
    return figure


def sample_figure(grids: Mapping[str, Path]) -> Figure:
    """Draw the grids of generated images, a panel a method."""
    rows = math.ceil(len(grids) / COLUMNS)
    figure = Figure(figsize=(WIDTH, rows * WIDTH / COLUMNS + 0.2), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, (title, path) in zip(panels.flat, grids.items(), strict=False):
        axes.imshow(matplotlib.image.imread(path), interpolation="nearest")
        axes.set_title(title, fontsize=9, loc="left")
    return figure


def _edges(steps: Sequence[int]) -> np.ndarray:
    """Return the borders of columns whose middles are steps."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middles = (np.array(steps[1:]) + np.array(steps[:-1])) / 2
    return np.concatenate([[steps[0]], middles, [steps[-1]]])
