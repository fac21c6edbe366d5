"""One function on many jobs, wherever an executor has them done; failures come back as values."""

from __future__ import annotations

import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, final

import joblib
import torch

from ..manifolds import require_integer
from .executors import Executor, Made, Work, executor_of
from .foreign import Parcel
from .surroundings import THREADS

# Runs seed torch's global generator, and set its threads: a process makes one at a time, however many threads it has.
_ONE_AT_A_TIME: Final = threading.RLock()


@final
@dataclass(frozen=True)
class Failure(Generic[Work]):
    """A job that raised an exception: its traceback, and the last line of it."""

    job: Work
    text: str
    summary: str


def perform_all(
    function: Callable[[Work], Made],
    jobs: Iterable[Work],
    executor: str | Executor = "loky",
    workers: int | None = None,
    threads: int = THREADS,
    parcel: Parcel | None = None,
) -> Generator[Made | Failure[Work], None, None]:
    """Yield what a function makes of each job as it ends, in any order.

    What others have registered in this process is known to the workers, too. Warnings of a job are given here.

    Args:
        function: the function.
        jobs: what it is called with, one after another.
        executor: an executor, or the name of one.
        workers: how many at once; by default one a physical core. A cluster has its own number.
        threads: of torch, for each job.
        parcel: what others have registered, if it is packed by now.

    Raises:
        ValueError: the executor is unknown or cannot be reached, or there is less than one worker.
        TypeError: the number of workers is no integer.
        WorkersLostError: the workers have died.
    """
    chosen, count = executor_of(executor), _number(workers)
    if parcel is None:
        parcel = _packed(chosen, count, ())
    seen: dict[Any, Any] = {}  # so that each warning is shown once, unless filters say otherwise
    for answer in chosen.made(_Guarded(function, threads, torch.get_default_dtype(), parcel), list(jobs), count):
        for warning in answer.warnings:
            warnings.warn_explicit(*warning, registry=seen)
        yield answer.product


def require_workers(executor: str | Executor, workers: int | None, values: Any) -> Parcel:
    """Refuse workers that cannot be reached or do not know what plain values name; return what they are sent."""
    chosen, count = executor_of(executor), _number(workers)
    chosen.require()
    parcel = _packed(chosen, count, values)
    if any(entry.is_named for entry in parcel.entries):
        for answer in perform_all(_nothing, [None], chosen, count, parcel=parcel):
            if isinstance(answer, Failure):
                raise ValueError(answer.summary.removeprefix("ValueError: "))
    return parcel


def _nothing(job: None) -> None:
    """Let a worker unpack what it is sent."""


def _packed(executor: Executor, workers: int, values: Any) -> Parcel:
    return Parcel() if executor.is_here(workers) else Parcel.packed(values)


def _number(workers: int | None) -> int:
    if workers is not None:
        require_integer("workers", workers, least=1)
    return workers or int(joblib.cpu_count(only_physical_cores=True))


@final
@dataclass(frozen=True)
class _Answer(Generic[Made]):
    """What a job has led to, and its warnings: text, category, file and line of each."""

    product: Made
    warnings: tuple[tuple[str, type[Warning], str, int], ...]


@final
@dataclass(frozen=True)
class _Guarded(Generic[Work, Made]):
    """A function that returns its exception, with torch's threads and dtype, where all registered names are known."""

    function: Callable[[Work], Made]
    threads: int
    dtype: torch.dtype
    parcel: Parcel

    def __call__(self, job: Work) -> _Answer[Made | Failure[Work]]:
        with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
            before = torch.get_num_threads(), torch.get_default_dtype()
            torch.set_num_threads(self.threads)
            torch.set_default_dtype(self.dtype)
            product: Made | Failure[Work]
            try:
                self.parcel.unpack()
                product = self.function(job)
            except Exception as error:
                product = Failure(job, traceback.format_exc(), f"{type(error).__name__}: {error}")
            finally:
                torch.set_num_threads(before[0])
                torch.set_default_dtype(before[1])
        return _Answer(product, tuple((str(w.message), w.category, w.filename, w.lineno) for w in caught))
