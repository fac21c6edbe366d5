"""A study from its definition to its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import filelock

from . import ranks
from .execution import Failure, execute_all, require_executor
from .figures import study_figures
from .findings import findings
from .page import render
from .run import Run
from .selection import Results, expected_total, pending_runs
from .storage import LOCK, ResultsFolder, write_content
from .study import Study
from .summary import CurveSummary, summarize
from .surroundings import Surroundings
from .tables import column_titles, results_table, summary_rows, timings_table
from .tasks import TASKS

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, Run | None], None]


# Columns that only the report shows where a terminal would have more than so many.
LEFT_OUT: Final = ("rate", "loss", "MiB", "‖XᵀX−I‖", "diverged")
WIDEST: Final = 10


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

    def tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Return titles, column titles and cells of the tables for people, narrow enough for a terminal."""
        titles, rows = column_titles(self.study), summary_rows(self.study, self.summaries)
        kept = [k for k, title in enumerate(titles) if title not in LEFT_OUT or len(titles) <= WIDEST]
        narrow = [tuple(row[k] for k in kept) for row in rows]
        return [(self.study.title or self.study.name, tuple(titles[k] for k in kept), narrow)]


def run_study(
    study: Study,
    output: str | Path,
    executor: str = "loky",
    workers: int | None = None,
    progress: Progress | None = None,
    surroundings: Surroundings | None = None,
) -> Outcome:
    """Make all runs of a study that the folder does not have yet, then write tables, plots and the report.

    Args:
        study: what to compare.
        output: the folder of results; made where it is missing.
        executor: `loky`, `sequential`, or one that was registered.
        workers: how many runs at once; by default one a physical core.
        progress: told of every run that ends.
        surroundings: data, device and threads; the folder among them is ``output`` whatever it says.

    Under ``torchrun`` its processes make one run after another together, and the first of them writes.

    Raises:
        ValueError: the folder holds something else, is damaged, or is in use; or the executor is unknown.
        RunFailedError: a run raised an exception; those that ended before it are kept.
    """
    surroundings = replace(surroundings or Surroundings(), folder=str(Path(output).resolve()))
    ranks.begin(surroundings.device)
    if ranks.world_size() > 1:
        executor = "sequential"
    require_executor(executor, workers)
    if ranks.rank() > 0:
        ranks.wait()  # for the folder
        folder = ResultsFolder.open(Path(output))
        results = folder.results()
        _make_runs(folder, results, executor, workers, None, surroundings)
        return _outcome(folder, results)
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
        ranks.wait()
        _make_runs(folder, results, executor, workers, progress, surroundings)
        return _write_all(folder, results)


def redraw(output: str | Path) -> Outcome:
    """Write tables, plots and the report from the results that there are, of a finished study or not.

    Raises:
        ValueError: the folder has no results of a study, or they cannot be read.
    """
    folder = ResultsFolder.open(Path(output))
    return _write_all(folder, folder.results())


def _make_runs(
    folder: ResultsFolder,
    results: dict[Run, Any],
    executor: str,
    workers: int | None,
    progress: Progress | None,
    surroundings: Surroundings,
) -> None:
    tell = progress or (lambda done, total, run: None)
    tell(len(results), expected_total(folder.study, results), None)
    while runs := pending_runs(folder.study, results):
        for made in execute_all(runs, executor, workers, surroundings):
            result = ranks.from_first(made)
            if isinstance(result, Failure):
                path = folder.save_error(result.run, result.text)
                raise RunFailedError(f"run {result.run.name!r} failed ({result.summary}); its traceback is in {path}")
            if ranks.rank() == 0:
                folder.save(result)
            results[result.run] = result
            tell(len(results), expected_total(folder.study, results), result.run)


def _write_all(folder: ResultsFolder, results: Results) -> Outcome:
    study, path = folder.study, folder.path
    outcome = _outcome(folder, results)
    figures = study_figures(study, outcome.summaries, path)
    write_content(path / "results.csv", results_table(study, results).to_csv(index=False, lineterminator="\n"))
    write_content(path / "timings.csv", timings_table(study, results).to_csv(index=False, lineterminator="\n"))
    for name, data in figures.items():
        write_content(path / name, data)
    write_content(outcome.report, render(study, results, outcome.summaries, figures, path.name))
    return outcome


def _outcome(folder: ResultsFolder, results: Results) -> Outcome:
    study = folder.study
    summaries = tuple(summarize(study, results))
    sentences = tuple(findings(summaries, TASKS[study.task]))
    return Outcome(study, summaries, sentences, folder.path / "report.html", not pending_runs(study, results))
