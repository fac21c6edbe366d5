"""A study of optimizers from its definition to its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import filelock

from ..conduct import RunFailedError
from ..execution import Failure, perform_all, require_executor
from ..optimizers import OPTIMIZERS, BuildOptimizer
from ..plots import to_png
from ..storage import LOCK, write_content
from .comparison import Comparison, compare
from .findings import findings
from .page import Figure, render
from .plots import convergence_figure, orthogonality_figure, profile_figure
from .result import OptimizationResult
from .run import OptimizationRun
from .selection import expected_total, pending_runs
from .storage import OptimizerFolder
from .study import FACTORS, OptimizerStudy
from .tables import column_titles, comparison_rows, results_table, timings_table

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, OptimizationRun | None], None]
Job = tuple[OptimizationRun, BuildOptimizer | None]


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
    folder = OptimizerFolder.create(Path(output), study)
    lock = filelock.FileLock(folder.path / LOCK, timeout=0)
    try:
        held = lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"output {str(output)!r} is in use by another process; wait for it, or give another folder"
        ) from None
    with held:
        results = folder.results()
        _make_runs(folder, results, executor, workers, progress)
        return _write_all(folder, results)


def redraw_optimizer_study(output: str | Path) -> OptimizerOutcome:
    """Write tables, plots and the report from the results that there are, of a finished study or not.

    Raises:
        ValueError: the folder has no results of a study of optimizers, or they cannot be read.
    """
    folder = OptimizerFolder.open(Path(output))
    return _write_all(folder, folder.results())


def _make_runs(
    folder: OptimizerFolder,
    results: dict[OptimizationRun, OptimizationResult],
    executor: str,
    workers: int | None,
    progress: Progress | None,
) -> None:
    tell = progress or (lambda done, total, run: None)
    total = expected_total(folder.study)
    tell(len(results), total, None)
    while runs := pending_runs(folder.study, results):
        jobs = [(run, OPTIMIZERS.get(run.setting.optimizer)) for run in runs]
        for result in perform_all(_perform, jobs, executor, workers):
            if isinstance(result, Failure):
                run = result.run[0]
                path = folder.save_error(run, result.text)
                raise RunFailedError(f"run {run.name!r} failed ({result.summary}); its traceback is in {path}")
            folder.save(result)
            results[result.run] = result
            tell(len(results), total, result.run)


def _perform(job: Job) -> OptimizationResult:
    from .perform import perform

    return perform(*job)


def _write_all(folder: OptimizerFolder, results: dict[OptimizationRun, OptimizationResult]) -> OptimizerOutcome:
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
