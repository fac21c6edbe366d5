"""What is read from results on problems: gaps, costs, performance profiles (Dolan and Moré 2002) and mean ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from .._plain import Plain
from ..result import Result
from .case import ProblemCase

if TYPE_CHECKING:
    from ..definition import Study

Key = TypeVar("Key")
# Gaps below this are one: the accuracy that float64 leaves in a cost.
SOLVED: Final = 1e-12


def shortfalls(result: Result) -> tuple[float, ...]:
    """Return at each look the gap, or the orthogonality error if larger: off the manifold nothing is solved."""
    return tuple(map(max, result.series("gap"), result.series("orthogonality_error")))


def final_gap(result: Result) -> float:
    """Return the last shortfall, not below 1e-12; infinite for a run that diverged."""
    return math.inf if result.diverged else max(shortfalls(result)[-1], SOLVED)


def spent(result: Result, measure: str) -> tuple[float, ...]:
    """Return what was spent up to each look: ``"evaluations"``, ``"operations"`` or ``"seconds"``."""
    return result.look_seconds if measure == "seconds" else result.series(measure)


def cost_to(result: Result, tolerance: float, costs: Sequence[float]) -> float:
    """Return what was spent until the shortfall was at most a tolerance; infinite if it never was."""
    for cost, gap in zip(costs, shortfalls(result), strict=True):
        if gap <= tolerance:
            return cost
    return math.inf


def ends(result: Result) -> dict[str, Plain]:
    """Return where a run has ended, and the largest orthogonality error on the way."""
    names = ("evaluations", "operations", "gap", "shortfall", "orthogonality_error")
    if not result.looks:
        return {"steps": 0, **dict.fromkeys(names)}
    found = {**result.looks[-1].measures, "shortfall": shortfalls(result)[-1]}
    found["orthogonality_error"] = result.largest("orthogonality_error")
    return {"steps": result.steps, **{name: found[name] for name in names}}


def diverged_in(result: Result) -> int | None:
    """Return the step, counted from 1, whose loss or outcome was not finite; 0 where the learning rate was refused."""
    at, case = result.diverged_at, result.run.case
    assert isinstance(case, ProblemCase)
    if at is None or not result.looks or result.reason is not None:  # refused, or an iterate of a method of minimize
        return at
    return at if at in case.look_steps and result.steps < at else at + 1


def tolerances(study: Study) -> tuple[float, ...]:
    """Return the gaps at which profiles are drawn, the smallest last."""
    given: Any = study.shared["tolerances"]
    return tuple(float(value) for value in given)


def finite(value: float) -> float | None:
    """Return a number as JSON and CSV can hold it: None where it is not finite."""
    return float(value) if math.isfinite(value) else None


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
    """Return each solver's mean rank over the problems it was run on, 1 being the best; ties share their mean."""
    import pandas as pd  # of the extra `study`

    ranks = pd.DataFrame([dict(found) for found in scores.values()]).rank().mean(axis=1)
    return {key: float(rank) for key, rank in zip(scores, ranks, strict=True) if not np.isnan(rank)}
