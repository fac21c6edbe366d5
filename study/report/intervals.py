"""Means with their 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self, final

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # scipy carries no types

CONFIDENCE: Final = 0.95
# Ratios of times nearer to 1 than this change from one start of a process to the next.
CLEAR: Final = 1.05


@final
@dataclass(frozen=True)
class Interval:
    """The mean of a sample and half the width of its 95 % interval (Student's t), both in the sample's unit.

    The mean is None for an empty sample, the half width for one with fewer than two values.
    """

    mean: float | None
    half_width: float | None
    count: int

    @classmethod
    def of(cls, sample: Iterable[float]) -> Self:
        """Return the interval of a sample of independent values."""
        values = list(sample)
        if not values:
            return cls(None, None, 0)
        mean = statistics.fmean(values)
        if len(values) == 1:
            return cls(mean, None, 1)
        return cls(mean, _factor(len(values)) * statistics.stdev(values), len(values))

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval; false where there is none."""
        return self.mean is not None and self.half_width is not None and abs(self.mean) > self.half_width

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """Return such as ``97.5 ± 0.4``; a dash where there is no mean."""
        if self.mean is None:
            return "–"
        mean = f"{scale * self.mean:.{digits}f}"
        return mean if self.half_width is None else f"{mean} ± {scale * self.half_width:.{digits}f}"


def half_widths(samples: np.ndarray) -> np.ndarray:
    """Return half the width of the 95 % interval of each column of samples ``(n, ...)``; 0 where n is 1."""
    count = len(samples)
    return _factor(count) * samples.std(axis=0, ddof=1) if count > 1 else np.zeros(samples.shape[1:])


def _factor(count: int) -> float:
    """Return by what a standard deviation of a sample is multiplied for half the width of its interval."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) / math.sqrt(count)


def median_interval(sample: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of a median, whatever the distribution; None where the sample is too small for one."""
    if not sample:
        return None
    found = stats.quantile_test(sample, p=0.5).confidence_interval(CONFIDENCE)
    return None if math.isnan(found.low) or math.isnan(found.high) else (float(found.low), float(found.high))


def is_clear_of_one(ratio: tuple[float, float] | None) -> bool:
    """Return whether the interval of a ratio of times lies above 1, or below, by more than five in a hundred."""
    return ratio is not None and (ratio[0] > CLEAR or ratio[1] < 1 / CLEAR)
