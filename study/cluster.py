"""Executors for clusters: Dask's workers and Ray's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from .executors import EXECUTORS, Executor, Made, Work
from .failures import WorkersLostError

# How long a scheduler may take to answer.
SECONDS: Final = 10


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
            return distributed.Client(self.scheduler, timeout=SECONDS, set_as_default=False), True
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


EXECUTORS.add("dask", Dask)
EXECUTORS.add("ray", Ray)


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
