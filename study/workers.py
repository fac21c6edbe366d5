"""Where runs are made: worker processes of this machine, this very process, or a cluster's."""

from __future__ import annotations

import abc
import contextlib
import os
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar, final

import joblib
import torch

from ..manifolds import require_integer
from .register import Entry, Register, adopt, foreign_entries
from .surroundings import THREADS

Work = TypeVar("Work")
Made = TypeVar("Made")

# Idle workers end after so many seconds.
IDLE_SECONDS: Final = 15
# How often a worker looks whether the process that started it is still there.
WATCH_SECONDS: Final = 1.0


@final
@dataclass(frozen=True)
class Failure(Generic[Work]):
    """A job that raised an exception: its traceback, and the last line of it."""

    job: Work
    text: str
    summary: str


class Executor(abc.ABC):
    """A way to call a function on many jobs, several at once."""

    @abc.abstractmethod
    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield what the function makes of each job as it ends, in any order.

        Args:
            function: importable, or to be pickled by cloudpickle; it raises nothing.
            jobs: what it is called with.
            workers: how many at once; a cluster has its own number.
        """

    def require(self) -> None:
        """Refuse what is not installed or cannot be reached, before the first run.

        Raises:
            ValueError: as said, with the cure.
        """


@final
class Loky(Executor):
    """Processes of this machine, which joblib starts, one thread of torch each unless a study says otherwise."""

    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield results as they come."""
        watched = partial(_watched, os.getpid(), function)
        with joblib.parallel_config(
            "loky", n_jobs=workers, inner_max_num_threads=THREADS, idle_worker_timeout=IDLE_SECONDS
        ):
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
            products = parallel(joblib.delayed(watched)(job) for job in jobs)
            try:
                for product in products:  # noqa: UP028 which would close them before the warnings are off
                    yield product
            finally:
                with warnings.catch_warnings():  # a study that ends with a failure leaves the other runs on purpose
                    warnings.filterwarnings("ignore", r"\d+ tasks", UserWarning)
                    products.close()


@final
class Sequential(Executor):
    """This very process, one job after another."""

    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield results one by one."""
        return map(function, jobs)


def _require_executor(thing: object) -> None:
    if not isinstance(thing, Executor):
        raise TypeError(f"it must be an object of a subclass of Executor, got {thing!r}")


EXECUTORS: Register[Executor] = Register("executor", _require_executor)
EXECUTORS.add("loky", Loky())
EXECUTORS.add("sequential", Sequential())


def perform_all(
    function: Callable[[Work], Made],
    jobs: Iterable[Work],
    executor: str = "loky",
    workers: int | None = None,
    threads: int = THREADS,
) -> Iterator[Made | Failure[Work]]:
    """Yield what a function makes of each job as it ends, in any order.

    What others have registered in this process is known to the workers, too.

    Args:
        function: the function.
        jobs: what it is called with, one after another.
        executor: name of an executor.
        workers: how many at once; by default one a physical core.
        threads: of torch, for each job.

    Raises:
        ValueError: the executor is unknown or cannot be reached, or there is less than one worker.
        TypeError: the number of workers is no integer.
    """
    chosen = EXECUTORS[executor]
    if workers is not None:
        require_integer("workers", workers, least=1)
    chosen.require()
    workers = workers or joblib.cpu_count(only_physical_cores=True)
    yield from chosen.made(_Guarded(function, threads, foreign_entries()), list(jobs), workers)


@final
@dataclass(frozen=True)
class _Guarded(Generic[Work, Made]):
    """A function that returns its exception, with a number of threads, where all registered names are known."""

    function: Callable[[Work], Made]
    threads: int
    entries: Mapping[str, Mapping[str, Entry[Any]]]

    def __call__(self, job: Work) -> Made | Failure[Work]:
        adopt(self.entries)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return self.function(job)
        except Exception as error:
            return Failure(job, traceback.format_exc(), f"{type(error).__name__}: {error}")
        finally:
            torch.set_num_threads(before)


def _watched(parent: int, function: Callable[[Work], Made], job: Work) -> Made:
    """Call a function in a process that ends when its parent is gone, whatever has ended that."""
    if os.getpid() != parent and parent not in _WATCHED:
        _WATCHED.add(parent)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return function(job)


_WATCHED: Final[set[int]] = set()


def _end_with(parent: int) -> None:
    started = _start_time(parent)
    while _start_time(parent) == started and started is not None:
        time.sleep(WATCH_SECONDS)
    os._exit(1)  # in the middle of whatever it does: all that is written is written whole


def _start_time(process: int) -> str | None:
    """Return what tells a process from a later one of its number; None where it is gone."""
    with contextlib.suppress(OSError, IndexError):
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "alive"
