"""Figures of panels, narrow enough that their letters can be read on a phone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...report.axes import dress
from ...report.text import label
from .curve import Curve, by_line

WIDTH: Final = 5.5  # inches
COLUMNS: Final = 2  # panels side by side
PANEL: Final = 2.1  # inches of height, of a panel in two columns
LETTER: Final = 0.075  # inches, of a legend's words
HANDLE: Final = 0.55  # inches, of what stands before and between them
LONGEST: Final = 42  # letters of a name on one line of a legend
LINE: Final = 0.21  # inches of height, of a line of a legend


def paneled(count: int, handles: Sequence[Line2D], height: float = PANEL) -> tuple[Figure, list[Axes]]:
    """Return a figure with a number of panels, two side by side, and a legend below them."""
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    scaled = height if columns > 1 else 1.7 * height
    figure = Figure(figsize=(WIDTH, rows * scaled + 0.3 + legend_height(handles)), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes in panels[:count]:
        dress(axes)
    add_legend(figure, handles)
    return figure, panels[:count]


def handles_of(curves: Sequence[Curve], markers: bool = True) -> list[Line2D]:
    """Return what a legend shows of curves: one handle a line."""
    return [
        Line2D(
            [],
            [],
            color=group[0].look.color,
            linestyle=group[0].look.line,
            marker=group[0].look.marker if markers else "",
            markersize=6,
            label=textwrap.fill(label(line), LONGEST),
        )
        for line, group in by_line(curves).items()
    ]


def add_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Put a legend below a figure."""
    if handles:
        columns = _columns(handles)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=10)


def legend_height(handles: Sequence[Line2D]) -> float:
    """Return how many inches of height a legend takes."""
    lines = sum(str(handle.get_label()).count("\n") + 1 for handle in handles)
    return LINE * math.ceil(lines / _columns(handles))


def heading(axes: Axes, *words: str) -> None:
    """Put a title above a panel."""
    axes.set_title(
        textwrap.shorten(label(", ".join(word for word in words if word)), 34, placeholder="…"), fontsize=10, loc="left"
    )


def rank_words(rank: int | None) -> str:
    """Return a rank as titles have it; nothing for none."""
    return "" if rank is None else f"rank {rank}"


def _columns(handles: Sequence[Line2D]) -> int:
    """Return how many columns of a legend there is room for, three at the most."""
    longest = max((len(line) for handle in handles for line in str(handle.get_label()).split("\n")), default=0)
    return max(1, min(3, int(WIDTH / (LETTER * longest + HANDLE))))
