"""A study from its definition to its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from .execution import Failure, execute_all, require_executor
from .kind import AnyResult, AnyRun
from .metrics.inception import require_inception
from .report.figures import study_figures
from .report.findings import findings
from .report.page import render
from .report.summary import CurveSummary, summarize
from .report.tables import column_titles, results_table, spectra_table, summary_rows, timings_table
from .result import Result
from .run import Run
from .runs import processes
from .selection import Results, expected_total, pending_runs
from .storage import TRAININGS, ResultsFolder, write_content
from .study import Study
from .surroundings import Surroundings
from .tasks import TASKS
from .tasks.construction import require_buildable
from .tasks.images import data_fingerprint, require_enough

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, Run | None], None]
TrainingsFolder = ResultsFolder[Study, Run, Result]

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
        ValueError: the folder holds something else or results on other images, is damaged, or is in use; the data, or
            what scores need, is missing; or the executor is unknown.
        RunFailedError: a run raised an exception; those that ended before it are kept.
    """
    surroundings = replace(surroundings or Surroundings(), folder=str(Path(output).resolve()))
    processes.begin(surroundings.device)
    if processes.world_size() > 1:
        executor = "sequential"
    require_executor(executor, workers)
    with ExitStack() as stack:

        def opened() -> tuple[TrainingsFolder, dict[Run, Result]]:
            checksum = _data_at_hand(study, surroundings)
            place = f"data {(surroundings.data or study.settings.data)!r}"
            folder = TrainingsFolder.create(Path(output), TRAININGS, study, checksum, place)
            stack.enter_context(folder.locked())
            return folder, folder.results()

        folder, results = processes.by_first(opened)
        make_runs(
            folder,
            results,
            lambda: pending_runs(study, results),
            lambda: expected_total(study, results),
            lambda runs: execute_all(runs, executor, workers, surroundings),
            progress if processes.rank() == 0 else None,
        )
        return _write_all(folder, results) if processes.rank() == 0 else _outcome(folder, results)


def redraw(output: str | Path) -> Outcome:
    """Write tables, plots and the report from the results that there are, of a finished study or not.

    Raises:
        ValueError: the folder has no results of a study, or they cannot be read.
    """
    folder = TrainingsFolder.open(Path(output), TRAININGS)
    return _write_all(folder, folder.results())


def make_runs(
    folder: ResultsFolder[Any, AnyRun, AnyResult],
    results: dict[AnyRun, AnyResult],
    pending: Callable[[], list[AnyRun]],
    expected: Callable[[], int],
    make: Callable[[list[AnyRun]], Iterator[AnyResult | Failure[AnyRun]]],
    progress: Callable[[int, int, AnyRun | None], None] | None,
) -> None:
    """Make the runs of a study of any kind that its folder does not have yet, and save them as they end.

    Args:
        folder: of the results.
        results: those that there are; the others are added.
        pending: returns the runs that can start now.
        expected: returns the number of runs of the whole study, as far as it is known.
        make: yields the results of runs as they end.
        progress: told of every run that ends.

    Raises:
        RunFailedError: a run raised an exception; those that ended before it are kept.
    """
    tell = progress or (lambda done, total, run: None)
    tell(len(results), expected(), None)
    while runs := pending():
        for made in make(runs):
            # A process that fails ends at once: the others may be waiting for it in the middle of their run.
            if isinstance(made, Failure):
                path = folder.save_error(made.run, made.text)
                raise RunFailedError(f"run {made.run.name!r} failed ({made.summary}); its traceback is in {path}")
            result: AnyResult = processes.from_first(made)
            if processes.rank() == 0:
                folder.save(result)
            results[result.run] = result
            tell(len(results), expected(), result.run)


def _data_at_hand(study: Study, surroundings: Surroundings) -> str | None:
    """Return the checksum of a study's images, None for bundled ones; refuse what is missing before the first run.

    Raises:
        ValueError: the data is not there, damaged or too little, no network fits it, the processes do not divide a
            batch, or scores are wanted whose package or weights are missing.
    """
    if study.settings.inception:
        require_inception()
    settings = study.settings
    checksum = data_fingerprint(settings.data, settings.size, surroundings, settings.images)
    run, task = study.run(study.curves[0], study.learning_rates[0], study.seeds[0]), TASKS[study.task]
    require_buildable(run, task.image_shape(run, surroundings))
    if "images" in task.settings:  # the digits of their own task have a split of their own
        require_enough(run, surroundings)
    processes.require_divisible(run.batch_size, settings.accumulation)
    return checksum


def _write_all(folder: TrainingsFolder, results: Results) -> Outcome:
    study, path = folder.study, folder.path
    outcome = _outcome(folder, results)
    figures = study_figures(study, outcome.summaries, path)
    write_content(path / "results.csv", results_table(study, results).to_csv(index=False, lineterminator="\n"))
    write_content(path / "timings.csv", timings_table(study, results).to_csv(index=False, lineterminator="\n"))
    # As many digits as float32 has, in which networks are.
    spectra = spectra_table(study, results).to_csv(index=False, lineterminator="\n", float_format="%.8g")
    write_content(path / "spectra.csv", spectra)
    for name, data in figures.items():
        write_content(path / name, data)
    write_content(outcome.report, render(study, results, outcome.summaries, outcome.findings, figures, path.name))
    return outcome


def _outcome(folder: TrainingsFolder, results: Results) -> Outcome:
    study = folder.study
    summaries = tuple(summarize(study, results))
    sentences = tuple(findings(summaries, TASKS[study.task]))
    return Outcome(study, summaries, sentences, folder.path / "report.html", not pending_runs(study, results))
