"""Results as tables: CSV for programs, one for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

import pandas as pd

from ..metrics.inception import FID, INCEPTION_SCORE, KID
from ..metrics.spectra import LayerSpectrum
from ..paper import has_published, published_z
from ..result import Result
from ..selection import Results, chosen_runs, planned_runs
from ..study import Study
from ..tasks import TASKS
from .summary import MEBIBYTE, CurveSummary

COLUMNS: Final = (
    "method",
    "rank",
    "Z %",
    "rate",
    "test {score}",
    "loss",
    "ms/step",
    "MiB",
    "‖XᵀX−I‖",
    "diverged",
)
PAPER: Final = "paper’s Z %"


def results_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a finished run, in the study's order, with nothing that differs between two executions."""
    chosen = {run for curve in study.curves for run in chosen_runs(study, curve, results)}
    rows = []
    for run in planned_runs(study, results):
        if run not in results:
            continue
        result = results[run]
        row = {"run": run.identifier, **run.to_dict(), "chosen": run in chosen, "diverged_at": result.diverged_at}
        row |= {"z": result.z, "degrees_of_freedom": result.degrees_of_freedom, "training_loss": result.final_loss}
        for split, evaluation in (("validation", result.validation), ("test", result.test)):
            row[f"{split}_score"] = None if evaluation is None else evaluation.score
            row[f"{split}_loss"] = None if evaluation is None else evaluation.loss
            others = {} if evaluation is None else evaluation.others
            row |= {f"{split}_{name.replace(' ', '_')}": value for name, value in others.items()}
        rows.append(row | {"orthogonality_error": result.orthogonality_error})
    return pd.DataFrame(rows).astype({"rank": "Int64", "diverged_at": "Int64"}) if rows else pd.DataFrame(rows)


def spectra_table(study: Study, results: Results) -> pd.DataFrame:
    """Return one row a layer of each look at a network, with nothing that differs between two executions."""
    shared = ("parameterization", "geometry", "spectrum", "rank", "learning_rate", "seed")
    rows = []
    for run in planned_runs(study, results):
        about = {"run": run.identifier, **{name: getattr(run, name) for name in shared}}
        for snapshot in results[run].snapshots if run in results else ():
            for layer, values in snapshot.singular_values.items():
                found = LayerSpectrum(values)
                row = {"step": snapshot.step, "layer": layer, "spectral_norm": found.spectral_norm}
                rows.append(about | row | {"stable_rank": found.stable_rank, "smallest_over_largest": found.smallest})
    return pd.DataFrame(rows).astype({"rank": "Int64"}) if rows else pd.DataFrame(rows)


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
    task = TASKS[study.task]
    titles = [column.format(score=f"{task.score_name} {task.score_unit}".rstrip()) for column in COLUMNS]
    others = list(other_measures(study).values())
    return tuple(_with_others(titles, [PAPER] if has_published(study) else [], others))


def summary_rows(study: Study, summaries: Sequence[CurveSummary]) -> list[tuple[str, ...]]:
    """Return the cells of the table for people, under :func:`column_titles`."""
    task = TASKS[study.task]
    rows = []
    for summary in summaries:
        cells = [
            summary.curve.method.title,
            "–" if summary.curve.rank is None else str(summary.curve.rank),
            f"{summary.z:.2f}",
            f"{summary.learning_rate:.3g}" + ("*" if summary.at_edge else ""),
            summary.test.text(task.score_scale, task.score_digits),
            f"{summary.training_loss.mean:.3f}" if summary.training_loss.mean is not None else "–",
            "–" if summary.step_milliseconds is None else f"{summary.step_milliseconds:.1f}",
            f"{summary.peak_memory:.0f}",
            "–" if summary.orthogonality_error is None else f"{summary.orthogonality_error:.0e}",
            f"{summary.diverged} of {len(summary.results)}",
        ]
        published = [published_z(study, summary.curve)] if has_published(study) else []
        others = [summary.other(name).text(1.0, 3) for name in other_measures(study)]
        rows.append(tuple(_with_others(cells, published, others)))
    return rows


def other_measures(study: Study) -> dict[str, str]:
    """Return what tables show of a test beside the score: titles by name."""
    found = dict(TASKS[study.task].other_measures)
    return found | {name: name for name in (INCEPTION_SCORE, FID, KID)} if study.settings.inception else found


def _with_others(cells: list[str], published: list[str], others: list[str]) -> list[str]:
    """Put the paper's Z after Z, and other measures after the score."""
    return [*cells[:3], *published, *cells[3:5], *others, *cells[5:]]


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
