"""A study from its definition to its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import filelock

from .execution import Failure, execute_all, require_executor
from .findings import findings
from .page import ACCURACY, LOSS, ORTHOGONALITY, SPECTRA, render
from .plots import accuracy_figure, loss_figure, orthogonality_figure, spectrum_figure, to_png
from .run import Run
from .selection import Results, expected_total, pending_runs
from .storage import LOCK, ResultsFolder, write_content
from .study import Study
from .summary import CurveSummary, summarize
from .tables import results_table, timings_table
from .tasks import TASKS

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, Run | None], None]


class RunFailedError(RuntimeError):
    """A run raised an exception; the message names it and the file that tells where."""


@final
@dataclass(frozen=True)
class Outcome:
    """What a study has led to: its curves, the findings in sentences, and the files written."""

    study: Study
    summaries: tuple[CurveSummary, ...]
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
            "curves": [summary.to_dict() for summary in self.summaries],
        }


def run_study(
    study: Study,
    output: str | Path,
    executor: str = "loky",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
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
    folder = ResultsFolder.create(Path(output), study)
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


def redraw(output: str | Path) -> Outcome:
    """Write tables, plots and the report from the results that there are, of a finished study or not.

    Raises:
        ValueError: the folder has no results of a study, or they cannot be read.
    """
    folder = ResultsFolder.open(Path(output))
    return _write_all(folder, folder.results())


def _make_runs(
    folder: ResultsFolder, results: dict[Run, Any], executor: str, workers: int | None, progress: Progress | None
) -> None:
    tell = progress or (lambda done, total, run: None)
    tell(len(results), expected_total(folder.study, results), None)
    while runs := pending_runs(folder.study, results):
        for result in execute_all(runs, executor, workers):
            if isinstance(result, Failure):
                path = folder.save_error(result.run, result.text)
                raise RunFailedError(f"run {result.run.name!r} failed ({result.summary}); its traceback is in {path}")
            folder.save(result)
            results[result.run] = result
            tell(len(results), expected_total(folder.study, results), result.run)


def _write_all(folder: ResultsFolder, results: Results) -> Outcome:
    study, path = folder.study, folder.path
    task = TASKS[study.task]
    summaries = summarize(study, results)
    figures = {}
    drawable = [summary for summary in summaries if summary.diverged < len(summary.results)]
    if drawable:
        figures[ACCURACY] = to_png(accuracy_figure(drawable, task.score_name))
        figures[LOSS] = to_png(loss_figure(drawable))
        figures[SPECTRA] = to_png(spectrum_figure(drawable))
    if any(summary.orthogonality_error is not None for summary in drawable):
        figures[ORTHOGONALITY] = to_png(orthogonality_figure(drawable))
    write_content(path / "results.csv", results_table(study, results).to_csv(index=False, lineterminator="\n"))
    write_content(path / "timings.csv", timings_table(study, results).to_csv(index=False, lineterminator="\n"))
    for name, data in figures.items():
        write_content(path / name, data)
    report = path / "report.html"
    write_content(report, render(study, results, summaries, figures, path.name))
    return Outcome(
        study, tuple(summaries), tuple(findings(summaries, task.score_name)), report, not pending_runs(study, results)
    )
