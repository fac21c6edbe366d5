"""The order of a model's error, as a slope in a log-log plot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Manopt's checks walk the same interval; eight of its 51 points span a little more than a decade.
STEPS: Final = tuple(float(step) for step in np.logspace(-8, 0, 51))
WINDOW: Final = 8
# In float32 a small error of third order rises from the noise only near t = 1: so few points must then do.
SHORTEST_WINDOW: Final = 4
NOISE: Final = 50.0
# Rounding leaves the slopes of float32 uncertain by this much.
UNCERTAINTY: Final = 0.15


@final
@dataclass(frozen=True)
class Slope:
    """How fast a model's error falls with the step.

    Attributes:
        steps: the steps t.
        errors: the model's error at each step.
        expected: the slope that the model should have at least.
        floor: errors below it are rounding, and left out of the fit.
        measured: the slope in the best window; None where the model is exact, or no window of points is left.
        window: the first and the last step of that window.
        is_exact: fewer than four errors are above the floor, so that the precision sees no error.
    """

    steps: tuple[float, ...]
    errors: tuple[float, ...]
    expected: float
    floor: float
    measured: float | None
    window: tuple[float, float] | None
    is_exact: bool

    @property
    def passed(self) -> bool:
        """Whether the model is exact or its slope at least the expected one."""
        return self.is_exact or (self.measured is not None and self.measured >= self.expected - UNCERTAINTY)

    def plot(self, axes: Axes, label: str = "") -> None:
        """Draw errors, floor, fitted window and a line of the expected slope into log-log axes."""
        steps, errors = np.array(self.steps), np.array(self.errors)
        shown = errors > 0
        axes.loglog(steps[shown], errors[shown], ".", color="#0072b2", label="error")
        axes.axhline(self.floor, color="0.6", linestyle=":", label="rounding")
        if self.window is not None and self.measured is not None:
            inside = (steps >= self.window[0]) & (steps <= self.window[1])
            centre = math.exp(float(np.log(errors[inside]).mean() - self.measured * np.log(steps[inside]).mean()))
            label_of_fit = f"slope {self.measured:.2f}"
            axes.loglog(
                steps[inside], centre * steps[inside] ** self.measured, color="#d55e00", linewidth=3, label=label_of_fit
            )
            reference = errors[inside][-1] * (steps / steps[inside][-1]) ** self.expected
            axes.loglog(steps, reference, color="0.3", linestyle="--", label=f"slope {self.expected:g} expected")
            axes.set_ylim(bottom=min(self.floor, errors[shown].min()) / 10, top=10 * errors[shown].max())
        axes.set_xlabel("step t")
        axes.set_title(label, fontsize=9)
        axes.legend(fontsize=7, loc="upper left")


def fit_slope(steps: tuple[float, ...], errors: tuple[float, ...], expected: float, floor: float) -> Slope:
    """Fit the slope of log error against log step in the window of eight neighbouring points that a line fits best.

    Points with an error below the floor, or one that is not finite, are left out first, or else the noise would win.
    Where that leaves fewer than eight, all of them make the window.

    Args:
        steps: the steps, ascending.
        errors: the error at each step.
        expected: the slope that is asked for.
        floor: the size of rounding errors.
    """
    x, y = np.log(np.array(steps)), np.array(errors, dtype=np.float64)
    kept = np.isfinite(y) & (y > floor)
    if np.isfinite(y).all() and kept.sum() < SHORTEST_WINDOW:
        return Slope(steps, errors, expected, floor, None, None, True)
    length = max(SHORTEST_WINDOW, min(WINDOW, int(kept.sum())))
    best: tuple[float, float, int] | None = None
    for start in range(len(steps) - length + 1):
        window = slice(start, start + length)
        if kept[window].all():
            (slope, _), residual, *_ = np.polyfit(x[window], np.log(y[window]), 1, full=True)
            misfit = float(residual[0]) if len(residual) else 0.0
            if best is None or misfit < best[0]:
                best = (misfit, float(slope), start)
    if best is None:
        return Slope(steps, errors, expected, floor, None, None, False)
    _, measured, start = best
    return Slope(steps, errors, expected, floor, measured, (steps[start], steps[start + length - 1]), False)


def measure_slope(
    error_at: Callable[[float], float], expected: float, scale: float, epsilon: float, steps: tuple[float, ...] = STEPS
) -> Slope:
    """Evaluate a model's error on the grid of steps and fit its slope.

    Args:
        error_at: the error at a step.
        expected: the slope that is asked for.
        scale: the size of the numbers whose difference the error is.
        epsilon: the machine epsilon of the precision.
    """
    with torch.no_grad():
        errors = tuple(float(error_at(step)) for step in steps)
    return fit_slope(steps, errors, expected, NOISE * epsilon * scale)
