"""Execution of one run in this process."""

from __future__ import annotations

import math
import platform
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import final

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented
from torch.optim.lr_scheduler import LambdaLR

from ..layers import STTP, decompress, reparameterize, report, spectral_weights
from ..layers.conversion import candidates
from .memory import peak_memory, reset_peak_memory
from .networks import NETWORKS
from .optimizers import OPTIMIZERS
from .parameterizations import SPECTRA
from .result import Result, Snapshot, Timing
from .run import Run
from .task import Task
from .tasks import TASKS


def execute(run: Run) -> Result:
    """Train, and read the test split once at the end. Nothing is written, and torch's global generator is left alone.

    The outcome but for its timing depends on the run, the versions of the libraries and the number of torch's threads.
    """
    task = TASKS[run.task]
    task.evaluate(first_network(run), "validation")  # the first of its kind would be timed with torch's own set-up
    reset_peak_memory()
    base_memory = peak_memory()
    start = time.perf_counter()
    network = first_network(run)
    count = _Count.of(network, run)
    trace = _train(network, task, run)
    test = None if trace.diverged_at is not None else task.evaluate(network, "test")
    timing = Timing(
        tuple(trace.step_seconds), time.perf_counter() - start, peak_memory(), base_memory, torch.get_num_threads()
    )
    return Result(
        run,
        trace.diverged_at,
        count.z,
        count.degrees_of_freedom,
        count.start_error,
        tuple(trace.losses),
        tuple(trace.snapshots),
        test,
        timing,
        environment(),
    )


def first_network(run: Run) -> nn.Module:
    """Return the network at step 0.

    All reparameterized networks of one seed, rank and spectrum have equal weights: those of a fresh `sttp stiefel`.
    The dense network has torch's own first weights.
    """
    entry = NETWORKS[run.network]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        network = entry.build(None)
    spec = run.curve.specification
    if spec is None or run.spectrum is None:
        return network
    reference = STTP(spec.rank, spectrum=SPECTRA[run.spectrum])
    reparameterize(network, reference, entry.skip, generator=torch.Generator().manual_seed(run.seed))
    if spec == reference:
        return network
    with warnings.catch_warnings():
        # The spectra that cannot hold a scale are met here with scales that are 1 up to rounding.
        warnings.filterwarnings("ignore", message="the spectrum .* cannot hold the scale", category=UserWarning)
        return reparameterize(decompress(network), spec, entry.skip, init="weights")


def environment() -> dict[str, str]:
    """Return the versions of what decides an outcome."""
    return {
        "sttp-torch": version("sttp-torch"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


@final
@dataclass(frozen=True)
class _Count:
    z: float
    degrees_of_freedom: int
    start_error: float | None

    @classmethod
    def of(cls, network: nn.Module, run: Run) -> _Count:
        if run.curve.method.is_dense:
            weights = candidates(network, NETWORKS[run.network].skip)
            return cls(100.0, sum(candidate.weight.numel() for candidate in weights), None)
        counted = report(network)
        return cls(counted.z, counted.dof, max(layer.fit_error or 0.0 for layer in counted.layers))


@final
@dataclass
class _Trace:
    """What is written down while a network is trained."""

    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    diverged_at: int | None = None


def _train(network: nn.Module, task: Task, run: Run) -> _Trace:
    optimizer = OPTIMIZERS[run.optimizer](network.parameters(), run.learning_rate)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / run.steps)
    batches = task.batches(run.seed, run.batch_size)
    looks = {round(run.steps * k / run.evaluations) for k in range(run.evaluations)}
    trace = _Trace()
    for step in range(run.steps):
        if step in looks and not _look(network, task, step, trace):
            return trace
        start = time.perf_counter()
        loss = task.loss(network, next(batches))
        value = loss.item()
        if not math.isfinite(value):
            trace.diverged_at = step
            return trace
        optimizer.zero_grad()
        loss.backward()
        try:
            optimizer.step()
        except LinAlgError:  # a finite loss with a gradient that is not: a factorization meets it first
            trace.diverged_at = step
            return trace
        schedule.step()
        trace.step_seconds.append(time.perf_counter() - start)
        trace.losses.append(value)
    _look(network, task, run.steps, trace)
    return trace


def _look(network: nn.Module, task: Task, step: int, trace: _Trace) -> bool:
    """Add a snapshot to the trace, or that the network has diverged; return whether it is well."""
    validation = task.evaluate(network, "validation")
    if not math.isfinite(validation.loss):
        trace.diverged_at = step
        return False
    weights = spectral_weights(network)
    errors = [weight.orthogonality_error().item() for weight in weights.values()]
    if weights:
        values = {name: weight.singular_values().abs() for name, weight in weights.items()}
    else:
        matrices = {c.names[0]: c.shape.to_matrix(c.weight.detach()) for c in candidates(network)}
        values = {name: torch.linalg.svdvals(matrix) for name, matrix in matrices.items()}
    listed = {name: _descending(value) for name, value in values.items()}
    trace.snapshots.append(Snapshot(step, validation, max(errors, default=None), listed))
    return True


def _descending(values: Tensor) -> tuple[float, ...]:
    return tuple(values.detach().sort(descending=True).values.tolist())
