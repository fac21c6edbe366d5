"""Where jobs are done: worker processes of this machine, this very process, or a cluster's."""

from __future__ import annotations

import abc
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, final

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from .heartbeat import end_with
from .register import Register, callable_thing
from .surroundings import THREADS

Work = TypeVar("Work")
Made = TypeVar("Made")

# Idle workers end after so many seconds.
IDLE_SECONDS: Final = 15
# How long a scheduler may take to answer.
ANSWER_SECONDS: Final = 10


class RunFailedError(RuntimeError):
    """A run raised an exception, or could not be made; the message says which and why. What was finished is kept."""


class WorkersLostError(RunFailedError):
    """Worker processes have died, or a cluster has gone, before the runs were made."""


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


@final
@dataclass(frozen=True)
class Dask(Executor):
    """Workers of a Dask cluster, by ``distributed``'s own client. A worker makes one run at a time: give it one thread.

    Attributes:
        scheduler: its address, such as ``tcp://host:8786``; None for that of the client that this process has.
    """

    scheduler: str | None = None

    def require(self) -> None:
        """Refuse a scheduler that does not answer or has no workers, and a missing package."""
        client, is_own = self._client()
        try:
            if not client.scheduler_info(n_workers=-1)["workers"]:
                raise ValueError(
                    f"scheduler {client.scheduler.address!r} has no workers; start some with "
                    f"`dask worker ADDRESS --nthreads 1`"
                )
        finally:
            if is_own:
                client.close()

    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield results as they come; the cluster has its own number of workers."""
        distributed = _imported("distributed", "dask")
        client, is_own = self._client()
        futures: list[Any] = []
        try:
            sent = client.scatter(function, hash=False)  # once, however many jobs there are
            futures = [client.submit(_call, sent, job, pure=False) for job in jobs]
            for future in distributed.as_completed(futures, loop=client.loop):
                try:
                    product = future.result()
                except Exception as error:  # none is the function's, which raises nothing
                    raise _lost(error) from error
                future.release()
                yield product
        finally:
            client.cancel(futures)
            if is_own:
                client.close()

    def _client(self) -> tuple[Any, bool]:
        """Return a client, and whether it is for this executor alone."""
        distributed = _imported("distributed", "dask")
        if self.scheduler is None:
            try:
                return distributed.get_client(), False
            except ValueError:
                raise ValueError(
                    "scheduler must be given for the executor 'dask', such as tcp://host:8786; `dask scheduler` prints "
                    "its own, or make a distributed.Client in this process"
                ) from None
        try:
            return distributed.Client(self.scheduler, timeout=ANSWER_SECONDS, set_as_default=False), True
        except Exception as error:
            raise ValueError(
                f"scheduler {self.scheduler!r} does not answer ({type(error).__name__}: {error}); start one with "
                f"`dask scheduler`, and give the address that it prints"
            ) from None


@final
@dataclass(frozen=True)
class Ray(Executor):
    """Workers of a Ray cluster, one core each.

    Attributes:
        scheduler: address of the cluster, such as ``auto`` or ``host:6379``; None starts one on this machine, unless
            this process is connected already.
    """

    scheduler: str | None = None

    def require(self) -> None:
        """Refuse a cluster that does not answer, and a missing package."""
        ray = _imported("ray", "ray")
        if ray.is_initialized():
            return
        try:
            ray.init(self.scheduler, include_dashboard=False if self.scheduler is None else None, log_to_driver=False)
        except Exception as error:
            raise ValueError(
                f"scheduler {self.scheduler!r} cannot be used by Ray ({type(error).__name__}: {error}); start a "
                f"cluster with `ray start --head`, or leave the address out for one on this machine"
            ) from None

    def made(self, function: Callable[[Work], Made], jobs: list[Work], workers: int) -> Iterator[Made]:
        """Yield results as they come; the cluster has its own number of workers."""
        self.require()
        ray = _imported("ray", "ray")
        sent = ray.put(function)  # once, however many jobs there are
        call = ray.remote(num_cpus=1)(_call)
        pending = [call.remote(sent, job) for job in jobs]
        try:
            while pending:
                (ended,), pending = ray.wait(pending, num_returns=1)
                try:
                    product = ray.get(ended)
                except Exception as error:  # none is the function's, which raises nothing
                    raise _lost(error) from error
                yield product
        finally:
            for left in pending:
                ray.cancel(left, force=True)


EXECUTORS: Register[Callable[..., Executor]] = Register("executor", callable_thing)
EXECUTORS.add("loky", Loky)
EXECUTORS.add("sequential", Sequential)
EXECUTORS.add("dask", Dask)
EXECUTORS.add("ray", Ray)


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


def _call(function: Callable[[Work], Made], job: Work) -> Made:
    return function(job)


def _lost(error: Exception) -> WorkersLostError:
    return WorkersLostError(
        f"the cluster has lost a run ({type(error).__name__}: {error}); what was finished is kept: begin the study "
        f"again, with this executor or another"
    )


def _imported(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"executor {extra!r} needs a package that cannot be imported ({error}): pip install "
            f"'sttp-torch[{extra}]', or choose the executor 'loky'"
        ) from None
