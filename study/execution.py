"""Runs through joblib: one-thread worker processes of this machine, or whatever executor is registered."""

from __future__ import annotations

import functools
import itertools
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, final

import joblib
import torch

from .arguments import require_integer, require_known
from .result import Result
from .run import Run
from .runs.perform import perform
from .surroundings import THREADS, Surroundings

Configure = Callable[[int], AbstractContextManager[Any]]
Work = TypeVar("Work")
Made = TypeVar("Made")

# Idle workers end after so many seconds: those that outlive a killed study would else stay for minutes.
IDLE_SECONDS: Final = 15

_EXECUTORS: Final[dict[str, Configure]] = {
    "loky": lambda workers: joblib.parallel_config(
        "loky", n_jobs=workers, inner_max_num_threads=THREADS, idle_worker_timeout=IDLE_SECONDS
    ),
    "sequential": lambda _: joblib.parallel_config("sequential"),
}


@final
@dataclass(frozen=True)
class Failure(Generic[Work]):
    """A run that raised an exception: its traceback, and the last line of it."""

    run: Work
    text: str
    summary: str


def register_executor(name: str, configure: Configure) -> None:
    """Make an executor known by a name, for instance for Dask, once a client is connected::

        register_executor("dask", lambda workers: joblib.parallel_config("dask"))

    Args:
        name: the name; one that exists is replaced.
        configure: for a number of workers, a context in which ``joblib.Parallel()`` uses the executor.
    """
    _EXECUTORS[name] = configure


def require_executor(executor: str, workers: int | None) -> None:
    """Refuse an executor that is not registered, and a number of workers that makes no sense.

    Raises:
        ValueError: the executor is unknown, or there is less than one worker.
        TypeError: the number of workers is no integer.
    """
    require_known("executor", executor, _EXECUTORS)
    if workers is not None:
        require_integer("workers", workers, minimum=1)


def execute_all(
    runs: Iterable[Run],
    executor: str = "loky",
    workers: int | None = None,
    surroundings: Surroundings | None = None,
) -> Iterator[Result | Failure[Run]]:
    """Yield the results of runs as they end, in any order; see :func:`perform_all`."""
    surroundings = surroundings or Surroundings()
    made = functools.partial(perform, surroundings=surroundings)
    yield from perform_all(made, runs, executor, workers, surroundings.threads)


def perform_all(
    perform: Callable[[Work], Made],
    jobs: Iterable[Work],
    executor: str = "loky",
    workers: int | None = None,
    threads: int = THREADS,
) -> Iterator[Made | Failure[Work]]:
    """Yield what a function makes of each job as it ends, in any order.

    Args:
        perform: the function; worker processes are sent it.
        jobs: what it is called with, one after another.
        executor: `loky` for processes of this machine, `sequential` for this very process, or a registered one.
        workers: how many at once; by default one a physical core.
        threads: of torch, for each job.

    Raises:
        ValueError, TypeError: see :func:`require_executor`.
    """
    require_executor(executor, workers)
    workers = workers or joblib.cpu_count(only_physical_cores=True)
    with _EXECUTORS[executor](workers):
        calls = (joblib.delayed(_guarded)(perform, job, threads) for job in jobs)
        if joblib.parallel.get_active_backend()[0].supports_return_generator:
            products = joblib.Parallel(return_as="generator_unordered", batch_size=1)(calls)
            try:
                for product in products:  # noqa: UP028 which would close them before the warnings are off
                    yield product
            finally:
                with warnings.catch_warnings():  # a study that ends with a failure leaves the others' runs on purpose
                    warnings.filterwarnings("ignore", r"\d+ tasks", UserWarning)
                    products.close()
            return
        while some := list(itertools.islice(calls, workers)):  # Ray's backend returns all that it is given at once
            yield from joblib.Parallel(batch_size=1)(some)


def _guarded(perform: Callable[[Work], Made], job: Work, threads: int) -> Made | Failure[Work]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return perform(job)
    except Exception as error:
        return Failure(job, traceback.format_exc(), f"{type(error).__name__}: {error}")
    finally:
        torch.set_num_threads(before)
