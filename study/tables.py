"""Results as tables: CSV for programs, one for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import pandas as pd

from .result import Result
from .selection import Results, chosen_runs, planned_runs
from .study import Study
from .summary import MEBIBYTE, CurveSummary
from .tasks import TASKS

COLUMNS: Final = (
    "method",
    "rank",
    "Z %",
    "rate",
    "test {score} %",
    "loss",
    "ms/step",
    "MiB",
    "‖XᵀX−I‖",
    "diverged",
)


def results_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a finished run, in the study's order, with nothing that differs between two executions."""
    chosen = {run for curve in study.curves for run in chosen_runs(study, curve, results)}
    rows = []
    for run in planned_runs(study, results):
        if run not in results:
            continue
        result = results[run]
        row = {"run": run.identifier, **asdict(run), "chosen": run in chosen, "diverged_at": result.diverged_at}
        row |= {"z": result.z, "degrees_of_freedom": result.degrees_of_freedom, "training_loss": result.final_loss}
        for split, evaluation in (("validation", result.validation), ("test", result.test)):
            row[f"{split}_score"] = None if evaluation is None else evaluation.score
            row[f"{split}_loss"] = None if evaluation is None else evaluation.loss
        rows.append(row | {"orthogonality_error": result.orthogonality_error})
    return pd.DataFrame(rows).astype({"rank": "Int64", "diverged_at": "Int64"}) if rows else pd.DataFrame(rows)


def timings_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a finished run with what it cost."""
    return pd.DataFrame(
        [
            {"run": run.identifier, "name": run.name, **_costs(results[run])}
            for run in planned_runs(study, results)
            if run in results
        ]
    )


def column_titles(study: Study) -> tuple[str, ...]:
    """Return the titles of the columns of the table for people."""
    return tuple(column.format(score=TASKS[study.task].score_name) for column in COLUMNS)


def summary_rows(summaries: Sequence[CurveSummary]) -> list[tuple[str, ...]]:
    """Return the cells of the table for people, under :func:`column_titles`."""
    return [
        (
            summary.curve.method.title,
            "–" if summary.curve.rank is None else str(summary.curve.rank),
            f"{summary.z:.2f}",
            f"{summary.learning_rate:.3g}" + ("*" if summary.at_edge else ""),
            summary.test.text(100, 1),
            f"{summary.training_loss.mean:.3f}" if summary.training_loss.mean is not None else "–",
            "–" if summary.step_milliseconds is None else f"{summary.step_milliseconds:.1f}",
            f"{summary.peak_memory:.0f}",
            "–" if summary.orthogonality_error is None else f"{summary.orthogonality_error:.0e}",
            f"{summary.diverged} of {len(summary.results)}",
        )
        for summary in summaries
    ]


def _costs(result: Result) -> dict[str, float | int | None]:
    timing = result.timing
    return {
        "seconds_per_step": statistics.median(timing.step_seconds) if timing.step_seconds else None,
        "training_seconds": sum(timing.step_seconds),
        "total_seconds": timing.total_seconds,
        "peak_memory_mib": timing.peak_memory / MEBIBYTE,
        "base_memory_mib": timing.base_memory / MEBIBYTE,
        "threads": timing.threads,
    }
