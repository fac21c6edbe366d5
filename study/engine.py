"""A study from its definition to its report."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from . import processes
from .case import Run
from .definition import Study
from .executors import Executor, RunFailedError, executor_of
from .folder import ResultsFolder
from .loop import perform
from .outcome import Outcome, write_all
from .result import Result
from .schedule import Results, chosen_runs, expected_runs, pending_runs
from .surroundings import Surroundings
from .turns import take_turns
from .workers import Failure, perform_all, require_workers

# Called with the number of finished runs, the number expected in all, and the run that has just ended (None at first).
Progress = Callable[[int, int, Run | None], None]
# Called with a function and its jobs; yields what it makes of each, or a Failure: perform_all with all else settled.
Make = Callable[..., Generator[Any, None, None]]

# Cases whose runs take longer than this for a step are not timed in turns: their recorded times are long enough.
LONGEST_STEP: Final = 0.25


def run_study(
    study: Study,
    output: str | Path,
    executor: str | Executor = "loky",
    workers: int | None = None,
    progress: Progress | None = None,
    surroundings: Surroundings | None = None,
) -> Outcome:
    """Make all runs of a study that the folder does not have yet, take times in turns, then write the report.

    Args:
        study: what to compare.
        output: the folder of results; made where it is missing.
        executor: an executor, such as ``Dask("tcp://host:8786")``, or the name of one, such as `loky` or `sequential`.
        workers: how many runs at once; by default one a physical core. A cluster has its own number.
        progress: told of every run that ends.
        surroundings: data, device and threads; the folder among them is ``output`` whatever it says.

    Under ``torchrun`` its processes make one run after another together, and the first of them writes.

    Raises:
        ValueError: the folder holds something else or results on other data, is damaged, or is in use; the data, or
            what scores need, is missing; or the executor is unknown.
        RunFailedError: a run raised an exception, or workers died; what was finished is kept.
    """
    surroundings = replace(surroundings or Surroundings(), folder=str(Path(output).resolve()))
    processes.begin(surroundings.device)
    chosen = executor_of("sequential" if processes.world_size() > 1 else executor)
    parcel = require_workers(chosen, workers, study.to_dict())
    with ExitStack() as stack:

        def opened() -> tuple[ResultsFolder, dict[Run, Result]]:
            checksum = study.of.require(study, surroundings)
            folder = stack.enter_context(ResultsFolder.held(Path(output), study, checksum, surroundings.place))
            return folder, folder.results()

        folder, results = processes.by_first(opened)
        is_first = processes.rank() == 0
        make = functools.partial(perform_all, executor=chosen, threads=surroundings.threads, parcel=parcel)
        tell = progress if is_first else None
        _make_runs(folder, results, functools.partial(make, workers=workers), surroundings, tell)
        if processes.world_size() == 1:
            _take_turns(folder, results, functools.partial(make, workers=1), surroundings)
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
    make: Make,
    surroundings: Surroundings,
    progress: Progress | None,
) -> None:
    """Make the runs that the folder does not have yet, and save them as they end."""
    study = folder.study
    tell = progress or (lambda done, total, run: None)
    expected = {case: expected_runs(study, case, results) for case in study.cases}
    tell(len(results), sum(expected.values()), None)
    function = functools.partial(perform, surroundings=surroundings)
    while runs := pending_runs(study, results):
        with closing(make(function, runs)) as products:
            for made in products:
                # A process that fails ends at once: the others may be waiting for it in the middle of their run.
                if isinstance(made, Failure):
                    raise _failed(folder, made)
                result: Result = processes.from_first(made)
                if processes.rank() == 0:
                    folder.save(result)
                results[result.run] = result
                case = result.run.case
                expected[case] = expected_runs(study, case, results)
                tell(len(results), sum(expected.values()), result.run)


def _failed(folder: ResultsFolder, failure: Failure[Run]) -> RunFailedError:
    try:
        where = f"its traceback is in {folder.save_error(failure.job, failure.text)}"
    except OSError as error:
        where = f"its traceback could not be written ({error})"
    return RunFailedError(f"run {failure.job.name!r} failed ({failure.summary}); {where}")


def _take_turns(folder: ResultsFolder, results: Results, make: Make, surroundings: Surroundings) -> None:
    """Time steps of the cases in turns on one worker, unless the folder has these times already."""
    study = folder.study
    runs = [run for case in study.cases for run in chosen_runs(study, case, results)[:1]]
    runs = [run for run in runs if not results[run].diverged and _quick(results[run])]
    if folder.has_turns_of(runs):
        return
    alone = replace(surroundings, folder=None, tensorboard=False)
    (made,) = make(functools.partial(take_turns, surroundings=alone), [runs])
    if isinstance(made, Failure):  # the results are there, and their report has the times of the runs
        warnings.warn(f"steps could not be timed in turns ({made.summary})", stacklevel=3)
    else:
        folder.save_turns(runs, made)


def _quick(result: Result) -> bool:
    seconds = result.timing.step_seconds
    return bool(seconds) and sum(seconds) / len(seconds) < LONGEST_STEP
