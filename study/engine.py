"""A study from its definition to its report."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from . import processes
from .case import Run
from .definition import Study
from .folder import ResultsFolder
from .loop import perform
from .outcome import Outcome, write_all
from .result import Result
from .schedule import Results, chosen_runs, expected_total, pending_runs
from .surroundings import Surroundings
from .turns import Turn, take_turns
from .workers import EXECUTORS, Failure, perform_all

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, Run | None], None]

# Cases whose runs take longer than this for a step are not timed in turns: their recorded times are long enough.
LONGEST_STEP: Final = 0.25


class RunFailedError(RuntimeError):
    """A run raised an exception; the message names it and the file that tells where."""


def run_study(
    study: Study,
    output: str | Path,
    executor: str = "loky",
    workers: int | None = None,
    progress: Progress | None = None,
    surroundings: Surroundings | None = None,
) -> Outcome:
    """Make all runs of a study that the folder does not have yet, take times in turns, then write the report.

    Args:
        study: what to compare.
        output: the folder of results; made where it is missing.
        executor: name of an executor, such as `loky` or `sequential`.
        workers: how many runs at once; by default one a physical core.
        progress: told of every run that ends.
        surroundings: data, device and threads; the folder among them is ``output`` whatever it says.

    Under ``torchrun`` its processes make one run after another together, and the first of them writes.

    Raises:
        ValueError: the folder holds something else or results on other data, is damaged, or is in use; the data, or
            what scores need, is missing; or the executor is unknown.
        RunFailedError: a run raised an exception; those that ended before it are kept.
    """
    surroundings = replace(surroundings or Surroundings(), folder=str(Path(output).resolve()))
    processes.begin(surroundings.device)
    if processes.world_size() > 1:
        executor = "sequential"
    EXECUTORS[executor].require()
    with ExitStack() as stack:

        def opened() -> tuple[ResultsFolder, dict[Run, Result]]:
            checksum = study.of.require(study, surroundings)
            folder = ResultsFolder.create(Path(output), study, checksum, surroundings.place)
            stack.enter_context(folder.locked())
            return folder, folder.results()

        folder, results = processes.by_first(opened)
        is_first = processes.rank() == 0
        _make_runs(folder, results, executor, workers, surroundings, progress if is_first else None)
        if processes.world_size() == 1:
            folder.save_turns(_turns(folder, results, surroundings))
        return write_all(folder, results) if is_first else Outcome.of(folder, results)


def redraw(output: str | Path) -> Outcome:
    """Write tables, figures and the report from the results that there are, of a finished study or not.

    Raises:
        ValueError: the folder has no results of a study, or they cannot be read.
    """
    folder = ResultsFolder.open(Path(output))
    return write_all(folder, folder.results())


def _make_runs(
    folder: ResultsFolder,
    results: dict[Run, Result],
    executor: str,
    workers: int | None,
    surroundings: Surroundings,
    progress: Progress | None,
) -> None:
    """Make the runs that the folder does not have yet, and save them as they end."""
    study = folder.study
    tell = progress or (lambda done, total, run: None)
    tell(len(results), expected_total(study, results), None)
    function = functools.partial(perform, surroundings=surroundings)
    while runs := pending_runs(study, results):
        for made in perform_all(function, runs, executor, workers, surroundings.threads):
            # A process that fails ends at once: the others may be waiting for it in the middle of their run.
            if isinstance(made, Failure):
                path = folder.save_error(made.job, made.text)
                raise RunFailedError(f"run {made.job.name!r} failed ({made.summary}); its traceback is in {path}")
            result: Result = processes.from_first(made)
            if processes.rank() == 0:
                folder.save(result)
            results[result.run] = result
            tell(len(results), expected_total(study, results), result.run)


def _turns(folder: ResultsFolder, results: Results, surroundings: Surroundings) -> tuple[Turn, ...]:
    """Return times of the cases' steps, taken in turns on one worker unless the folder has them already."""
    study = folder.study
    runs = [run for case in study.cases for run in chosen_runs(study, case, results)[:1]]
    runs = [run for run in runs if not results[run].diverged and _quick(results[run])]
    known = {turn.run: turn for turn in folder.turns()}
    if all(run.identifier in known for run in runs):
        return tuple(known.values())
    alone = replace(surroundings, folder=None, tensorboard=False)
    (made,) = perform_all(functools.partial(take_turns, surroundings=alone), [runs], "loky", 1, surroundings.threads)
    if isinstance(made, Failure):
        raise RunFailedError(f"steps could not be timed in turns ({made.summary})")
    return made


def _quick(result: Result) -> bool:
    seconds = result.timing.step_seconds
    return bool(seconds) and sum(seconds) / len(seconds) < LONGEST_STEP
