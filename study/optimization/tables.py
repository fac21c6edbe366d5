"""Results as tables: CSV for programs, one a factor for people."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from .comparison import Comparison
from .result import OptimizationResult
from .selection import Results, chosen_runs, planned_runs
from .study import OptimizerStudy

TOLERANCE_COLUMN = "evaluations_to_{:g}"


def results_table(study: OptimizerStudy, results: Results) -> pd.DataFrame:
    """Return one row a finished run, in the study's order, with nothing that differs between two executions."""
    chosen = {run for setting, problem in study.curves for run in chosen_runs(study, setting, problem, results)}
    rows = []
    for run in planned_runs(study, results):
        if run not in results:
            continue
        result = results[run]
        row: dict[str, Any] = {"run": run.identifier, "problem": run.problem.name, **vars(run.setting)}
        row |= {"learning_rate": run.learning_rate, "seed": run.seed, "chosen": run in chosen}
        row |= {"diverged_at": result.diverged_at, "reason": result.reason, **_ends(result)}
        for tolerance in study.tolerances:
            row[TOLERANCE_COLUMN.format(tolerance)] = _known(result.cost_to(tolerance, "evaluations"))
        rows.append(row)
    return pd.DataFrame(rows).astype({"diverged_at": "Int64"}) if rows else pd.DataFrame(rows)


def timings_table(study: OptimizerStudy, results: Results) -> pd.DataFrame:
    """Return one row a finished run with what it cost."""
    return pd.DataFrame(
        [
            {
                "run": run.identifier,
                "name": run.name,
                "seconds": results[run].timing.seconds[-1],
                "seconds_per_step": results[run].timing.seconds[-1] / max(results[run].steps[-1], 1),
                **{
                    f"seconds_to_{tolerance:g}": _known(results[run].cost_to(tolerance, "seconds"))
                    for tolerance in study.tolerances
                },
                "threads": results[run].timing.threads,
            }
            for run in planned_runs(study, results)
            if run in results and results[run].steps
        ]
    )


def column_titles(comparison: Comparison, problems: bool = True) -> tuple[str, ...]:
    """Return the titles of the columns of a factor's table for people, with a column a problem if ``problems``."""
    labels = (problem.label for problem in comparison.problems if problems)
    return (comparison.field, "mean rank", "solved", *labels, "µs / step", "products / step", "‖XᵀX−I‖")


def comparison_rows(comparison: Comparison, problems: bool = True) -> list[tuple[str, ...]]:
    """Return the cells of the table for people, the best mean rank first."""
    rows = []
    for setting in comparison.ordered:
        solved, runs = comparison.solved(setting)
        entries = [comparison.find(setting, problem) for problem in comparison.problems if problems]
        products = comparison.products(setting)
        rows.append(
            (
                comparison.label(setting),
                f"{comparison.ranks[setting]:.1f}",
                f"{solved}/{runs}",
                *("–" if entry is None else gap_text(entry.gap) + ("*" if entry.at_edge else "") for entry in entries),
                f"{comparison.step_microseconds(setting):.0f}",
                "–" if products is None else f"{products:.0f}",
                f"{comparison.orthogonality_error(setting):.0e}",
            )
        )
    return rows


def gap_text(gap: float) -> str:
    """Return a gap in two digits, or that a run diverged."""
    return "diverged" if math.isinf(gap) else f"{gap:.0e}"


def _ends(result: OptimizationResult) -> dict[str, Any]:
    return {
        "steps": result.steps[-1],
        "evaluations": result.evaluations[-1],
        "operations": result.operations[-1],
        "gap": result.gaps[-1],
        "shortfall": result.shortfalls[-1],
        "orthogonality_error": result.orthogonality_error,
    }


def _known(cost: float) -> float | None:
    return None if math.isinf(cost) else cost
