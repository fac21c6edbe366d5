"""A study of optimizers from its definition to its report."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..conduct import make_runs
from ..execution import Failure, perform_all, require_executor
from ..optimizers import OPTIMIZERS, BuildOptimizer
from ..report.plots import to_png
from ..storage import ResultsFolder, write_content
from .comparison import Comparison, compare
from .findings import findings
from .page import Figure, render
from .plots import convergence_figure, orthogonality_figure, profile_figure
from .result import OptimizationResult
from .run import OptimizationRun
from .selection import expected_total, pending_runs
from .storage import OPTIMIZATIONS
from .study import FACTORS, OptimizerStudy
from .tables import column_titles, comparison_rows, results_table, timings_table

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, OptimizationRun | None], None]
OptimizationsFolder = ResultsFolder[OptimizerStudy, OptimizationRun, OptimizationResult]


@final
@dataclass(frozen=True)
class OptimizerOutcome:
    """What a study has led to: a comparison a factor, the findings in sentences, and the files written."""

    study: OptimizerStudy
    comparisons: tuple[Comparison, ...]
    findings: tuple[str, ...]
    report: Path
    finished: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "study": self.study.to_dict(),
            "finished": self.finished,
            "report": str(self.report),
            "findings": list(self.findings),
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
        }

    def tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Return titles, column titles and cells of the tables for people, narrow enough for a terminal."""
        return [
            (FACTORS[c.factor], column_titles(c, problems=False), comparison_rows(c, problems=False))
            for c in self.comparisons
            if c.problems
        ]


def run_optimizer_study(
    study: OptimizerStudy,
    output: str | Path,
    executor: str = "loky",
    workers: int | None = None,
    progress: Progress | None = None,
) -> OptimizerOutcome:
    """Make all runs of a study that the folder does not have yet, then write tables, plots and the report.

    Args:
        study: what to compare.
        output: the folder of results; made where it is missing.
        executor: `loky`, `sequential`, or one that was registered.
        workers: how many runs at once; by default one a physical core.
        progress: told of every run that ends.

    Raises:
        ValueError: the folder holds something else, is damaged, or is in use; or the executor is unknown.
        RunFailedError: a run raised an exception; those that ended before it are kept.
    """
    require_executor(executor, workers)
    folder = OptimizationsFolder.create(Path(output), OPTIMIZATIONS, study)
    with folder.locked():
        results = folder.results()
        make_runs(
            folder,
            results,
            lambda: pending_runs(study, results),
            lambda: expected_total(study),
            lambda runs: _perform_all(runs, executor, workers),
            progress,
        )
        return _write_all(folder, results)


def redraw_optimizer_study(output: str | Path) -> OptimizerOutcome:
    """Write tables, plots and the report from the results that there are, of a finished study or not.

    Raises:
        ValueError: the folder has no results of a study of optimizers, or they cannot be read.
    """
    folder = OptimizationsFolder.open(Path(output), OPTIMIZATIONS)
    return _write_all(folder, folder.results())


def _perform_all(
    runs: list[OptimizationRun], executor: str, workers: int | None
) -> Iterator[OptimizationResult | Failure[OptimizationRun]]:
    # A user's optimizer is registered in this process alone: the others are sent what builds it.
    builds = {name: OPTIMIZERS.get(name) for name in {run.setting.optimizer for run in runs}}
    return perform_all(functools.partial(_perform, builds), runs, executor, workers)


def _perform(builds: Mapping[str, BuildOptimizer | None], run: OptimizationRun) -> OptimizationResult:
    from .perform import perform

    return perform(run, builds[run.setting.optimizer])


def _write_all(folder: OptimizationsFolder, results: dict[OptimizationRun, OptimizationResult]) -> OptimizerOutcome:
    study, path = folder.study, folder.path
    comparisons = tuple(compare(study, factor, results) for factor in study.groups)
    drawable = [comparison for comparison in comparisons if comparison.problems]
    figures: list[Figure] = []
    for comparison in drawable:
        factor = comparison.factor
        profiles = to_png(profile_figure(comparison, study.tolerances))
        convergence = to_png(convergence_figure(comparison))
        figures.append(Figure(factor, "profiles", f"profiles-{factor}.png", profiles))
        figures.append(Figure(factor, "convergence", f"convergence-{factor}.png", convergence))
    if drawable:
        figures.append(Figure("", "orthogonality", "orthogonality.png", to_png(orthogonality_figure(drawable))))
    sentences = tuple(findings(comparisons, study.tolerances[-1]))
    write_content(path / "results.csv", results_table(study, results).to_csv(index=False, lineterminator="\n"))
    write_content(path / "timings.csv", timings_table(study, results).to_csv(index=False, lineterminator="\n"))
    for figure in figures:
        write_content(path / figure.file, figure.data)
    finished = not pending_runs(study, results)
    report = path / "report.html"
    write_content(report, render(study, results, comparisons, sentences, figures, path.name, finished))
    return OptimizerOutcome(study, comparisons, sentences, report, finished)
