"""How all plots are dressed. No state of pyplot is touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter


def dress(axes: Axes) -> None:
    """Give a panel the faint grid and the two borders that all panels have."""
    axes.grid(True, color="#e5e5e5", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend_columns(width: float, labels: Iterable[str]) -> int:
    """Return how many columns of a legend a figure of a width in inches has room for, four at the most."""
    longest = max(map(len, labels), default=0)
    # Inches of a letter, and of what stands before the words and between them.
    return max(1, min(4, int(width / (0.072 * longest + 0.65))))


def logarithmic(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers on it: powers of ten, and where it spans few also 2 and 5."""
    axes.set(**{f"{axis}scale": "log"})
    chosen = axes.xaxis if axis == "x" else axes.yaxis

    def between(value: float, _: int) -> str:
        low, high = chosen.get_view_interval()
        return f"{value:g}" if f"{value:e}"[0] in "25" and high < 300 * low else ""

    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_formatter(FuncFormatter(between))
