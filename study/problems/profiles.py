"""Performance profiles (Dolan and Moré 2002) and mean ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

Key = TypeVar("Key")


def performance_ratios(costs: Mapping[Key, Sequence[float]]) -> dict[Key, np.ndarray]:
    """Return each solver's cost on each instance over the least cost of any solver on it.

    Instances that no solver solves are infinite for all; one that all solve for nothing counts 1 for all.

    Args:
        costs: for each solver one cost an instance, the same instances in the same order; infinite where unsolved, NaN
            where the solver was not run.
    """
    table = np.array([list(row) for row in costs.values()], dtype=float)
    best = np.nanmin(np.where(np.isnan(table), np.inf, table), axis=0) if table.size else np.ones(0)
    ratios = {}
    for key, row in zip(costs, table, strict=True):
        solved = np.isfinite(row)
        ratio = np.where(np.isnan(row), np.nan, np.inf)
        ratio[solved] = np.where(best[solved] > 0, row[solved] / np.where(best[solved] > 0, best[solved], 1), 1.0)
        ratios[key] = ratio
    return ratios


def profile(ratios: np.ndarray, abscissa: np.ndarray) -> np.ndarray:
    """Return ρ(τ), the share of the instances it was run on that a solver solves within τ times the least cost."""
    known = ratios[~np.isnan(ratios)]
    if not known.size:
        return np.zeros(len(abscissa))
    return (known[None, :] <= abscissa[:, None]).mean(axis=1)


def mean_ranks(scores: Mapping[Key, Mapping[str, float]]) -> dict[Key, float]:
    """Return each solver's mean rank over the problems it was run on, 1 being the best; ties share their mean.

    Args:
        scores: for each solver its score on each problem, less being better.
    """
    ranks = pd.DataFrame([dict(found) for found in scores.values()]).rank().mean(axis=1)
    return {key: float(rank) for key, rank in zip(scores, ranks, strict=True) if not np.isnan(rank)}
