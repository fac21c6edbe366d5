"""Where jobs are done: worker processes of this machine, this very process, or a cluster's."""

from __future__ import annotations

import abc
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, final

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from .failures import WorkersLostError
from .register import Register, callable_thing
from .surroundings import THREADS
from .watch import end_with

Work = TypeVar("Work")
Made = TypeVar("Made")

# Idle workers end after so many seconds.
IDLE_SECONDS: Final = 15


class Executor(abc.ABC):
    """A way to call a function on many jobs, several at once; subclasses are frozen dataclasses of their options."""

    @abc.abstractmethod
    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield what the function makes of each job as it ends, in any order.

        Args:
            function: to be pickled by cloudpickle, once where that is possible: it may be large. It raises nothing.
            jobs: what it is called with.
            workers: how many at once; a cluster has its own number.

        Raises:
            WorkersLostError: the workers have died.
        """

    def require(self) -> None:  # noqa: B027 which need not refuse anything
        """Refuse what is not installed or cannot be reached, before the first run.

        Raises:
            ValueError: as said, with the cure.
        """

    def is_here(self, workers: int) -> bool:
        """Whether jobs are done in this very process, which knows all that is registered in it."""
        return False


@final
@dataclass(frozen=True)
class Loky(Executor):
    """Processes of this machine that joblib starts, one thread each unless a study says otherwise.

    They end with this process, whatever ends it. A single worker is this process itself.
    """

    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield results as they come."""
        if workers == 1:
            yield from map(function, jobs)
            return
        with joblib.parallel_config(
            "loky",
            n_jobs=workers,
            inner_max_num_threads=THREADS,
            idle_worker_timeout=IDLE_SECONDS,
            initializer=end_with,
            initargs=(os.getpid(),),
        ):
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
            told = partial(_on_path, tuple(sys.path), function)
            products = parallel(joblib.delayed(told)(job) for job in jobs)
            try:
                for product in products:  # noqa: UP028 which would close them before the warnings are off
                    yield product
            except TerminatedWorkerError as error:
                raise WorkersLostError(
                    "a worker process has died, as when the system has no memory left for it; what was finished is "
                    "kept: begin the study again, with fewer workers"
                ) from error
            except BrokenProcessPool as error:
                raise WorkersLostError(
                    f"a worker process cannot load what it is sent ({error.__cause__ or error}); define it at the top "
                    f"of a module that workers can import, or choose the executor 'sequential'"
                ) from error
            finally:
                with warnings.catch_warnings():  # a study that ends with a failure leaves the other runs on purpose
                    warnings.filterwarnings("ignore", r"\d+ tasks", UserWarning)
                    products.close()

    def is_here(self, workers: int) -> bool:
        """Whether there is one worker."""
        return workers == 1


def _on_path(path: tuple[str, ...], function: Callable[[Work], Made], job: Work) -> Made:
    """Call a function where modules are found that this process finds: workers of an earlier study may be older."""
    sys.path.extend(folder for folder in path if folder not in sys.path)
    return function(job)


@final
@dataclass(frozen=True)
class Sequential(Executor):
    """This very process, one job after another."""

    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield results one by one."""
        return map(function, jobs)

    def is_here(self, workers: int) -> bool:
        """Return True."""
        return True


EXECUTORS: Register[Callable[..., Executor]] = Register("executor", callable_thing)
EXECUTORS.add("loky", Loky)
EXECUTORS.add("sequential", Sequential)


def executor_of(given: str | Executor, **options: Any) -> Executor:
    """Return an executor, or the one of a name with options, those that are None left out.

    Raises:
        TypeError: it is neither an executor nor a name, or the name's is none.
        ValueError: no executor has the name, or it has no such option.
    """
    if isinstance(given, Executor):
        return given
    build = EXECUTORS.entry(given).thing
    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        found = build(**chosen)
    except TypeError as error:
        raise ValueError(
            f"executor {given!r} does not take {', '.join(f'{name}={value!r}' for name, value in chosen.items())} "
            f"({error}); leave it out, or choose another executor"
        ) from None
    if not isinstance(found, Executor):
        raise TypeError(f"executor {given!r} must be an object of a subclass of Executor, got {found!r}")
    return found
