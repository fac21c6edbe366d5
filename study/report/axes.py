"""How all plots are dressed. No state of pyplot is touched."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ..register import Appearance
from .text import label

LETTER: Final = 0.0075  # inches, of a legend's words, by the points of their size
HANDLE: Final = 0.6  # inches, of what stands before and between them
LONGEST: Final = 42  # letters of a name on one line of a legend
LINE: Final = 0.021  # inches of height, of a line of a legend, by the points of its size


def dress(axes: Axes) -> None:
    """Give a panel the faint grid and the two borders that all panels have."""
    axes.grid(True, color="#e5e5e5", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def handle(title: str, look: Appearance, *, marker: bool = True) -> Line2D:
    """Return what a legend shows of a line."""
    style: dict[str, Any] = {"marker": look.marker, "markersize": 6} if marker else {}
    return Line2D([], [], color=look.color, linestyle=look.line, label=label(title), **style)


def add_legend(figure: Figure, handles: Sequence[Any], place: str = "lower center", size: float = 10) -> None:
    """Put a legend outside the panels of a figure, which gets as much higher; long names are broken into lines."""
    if not handles:
        return
    labels = [textwrap.fill(str(shown.get_label()), LONGEST) for shown in handles]
    longest = max(len(line) for text in labels for line in text.split("\n"))
    columns = max(1, min(4, int(figure.get_figwidth() / (LETTER * size * longest + HANDLE))))
    lines = math.ceil(sum(text.count("\n") + 1 for text in labels) / columns)
    figure.set_figheight(figure.get_figheight() + LINE * size * lines)
    style: dict[str, Any] = {"loc": f"outside {place}", "ncols": columns, "frameon": False, "fontsize": size}
    figure.legend(handles, labels, **style)


def logarithmic(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers on it: powers of ten, and where it spans few also 2 and 5."""
    axes.set(**{f"{axis}scale": "log"})
    chosen = axes.xaxis if axis == "x" else axes.yaxis

    def between(value: float, _: int) -> str:
        low, high = chosen.get_view_interval()
        return f"{value:g}" if f"{value:e}"[0] in "25" and high < 300 * low else ""

    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_formatter(FuncFormatter(between))
