"""Execution of one run in this process."""

from __future__ import annotations

import math
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented

from ...layers import report, spectral_weights
from ..metrics.spectra import network_spectra
from ..result import Result, Snapshot, Timing, read_snapshot
from ..run import Run
from ..surroundings import Surroundings
from ..tasks import TASKS
from ..tasks.construction import first_network, weight_entries
from ..tasks.task import Training
from . import processes
from .board import Board, open_board
from .checkpoint import read_checkpoint, write_checkpoint
from .heartbeat import Heartbeat
from .memory import peak_memory, reset_peak_memory
from .sample_grid import write_samples

# A GPU is asked for its losses once in so many steps: each question makes it wait.
STEPS_A_READING: Final = 20


def perform(run: Run, surroundings: Surroundings | None = None) -> Result:
    """Train, and read the test split once at the end. torch's global generator is left alone.

    Where the surroundings have a folder, the run writes checkpoints there and goes on from the one it finds; its
    result, which is the same to the last digit on a CPU, is for the caller to write. The outcome but for its timing
    depends on the run, the versions of the libraries, the device and the number of torch's threads.
    """
    surroundings = surroundings or Surroundings()
    task = TASKS[run.task]
    shape = task.image_shape(run, surroundings)
    if task.warms_up:  # the first of its kind would be timed with torch's own set-up
        task.training(run, first_network(run, shape), surroundings).evaluate("validation")
    reset_peak_memory(surroundings.device)
    base_memory = peak_memory(surroundings.device)
    start = time.perf_counter()
    network = first_network(run, shape)
    count = _Count.of(network, run, weight_entries(run, shape))
    training = task.training(run, network, surroundings)
    folder = surroundings.run_folder(run.identifier)
    trace = _Trace()
    saved = None if folder is None else read_checkpoint(folder, _conditions(surroundings))
    if saved is not None:
        training.restore(saved["training"], saved["step"])
        trace = _Trace.restored(saved["trace"])
    with open_board(run, surroundings, folder) as board:
        _train(training, run, trace, surroundings, folder, board, start)
    test = None if trace.diverged_at is not None else training.evaluate("test")
    seconds = trace.earlier_seconds + time.perf_counter() - start
    timing = Timing(
        tuple(trace.step_seconds), seconds, peak_memory(surroundings.device), base_memory, torch.get_num_threads()
    )
    if folder is not None and processes.rank() == 0:
        write_samples(folder, training)
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
        environment() | ({} if surroundings.device == "cpu" else {"device": surroundings.device}),
    )


def environment() -> dict[str, str]:
    """Return the versions of what decides an outcome."""
    return {
        "sttp-torch": version("sttp-torch"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _conditions(surroundings: Surroundings) -> dict[str, str]:
    """Return what must be the same for a run to go on where it was."""
    return environment() | {"device": surroundings.device, "threads": str(torch.get_num_threads())}


@final
@dataclass(frozen=True)
class _Count:
    z: float
    degrees_of_freedom: int
    start_error: float | None

    @classmethod
    def of(cls, network: nn.Module, run: Run, entries: int) -> _Count:
        if run.curve.method.is_plain:
            return cls(100.0, entries, None)
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
    earlier_seconds: float = 0.0

    def saved(self, seconds: float) -> dict[str, Any]:
        """Return plain values for a checkpoint, of a run that has gone on for so long since it was last begun."""
        return asdict(self) | {"earlier_seconds": self.earlier_seconds + seconds}

    @classmethod
    def restored(cls, data: dict[str, Any]) -> _Trace:
        """Read what :meth:`saved` returned."""
        return cls(**{**data, "snapshots": [read_snapshot(snapshot) for snapshot in data["snapshots"]]})


def _train(
    training: Training,
    run: Run,
    trace: _Trace,
    surroundings: Surroundings,
    folder: Path | None,
    board: Board,
    begun: float,
) -> None:
    """Make the steps that the trace does not have yet, with looks at the network and checkpoints on the way."""
    looks = {round(run.steps * k / run.evaluations) for k in range(run.evaluations)}
    reading = 1 if surroundings.device == "cpu" else STEPS_A_READING
    told = folder if processes.rank() == 0 else None
    heartbeat, unread = Heartbeat(told, len(trace.losses), run.steps), _Unread(trace)
    checkpointed = time.monotonic()
    for step in range(len(trace.losses), run.steps):
        if step in looks and not _look(training, step, trace, board):
            return
        unread.start()
        try:
            unread.add(training.step(step))
        except LinAlgError:  # a finite loss with a gradient that is not: a factorization meets it first
            if unread.read():
                trace.diverged_at = step
            return
        ended = step + 1 == run.steps or step + 1 in looks
        if (ended or len(unread) >= reading) and not unread.read():
            return
        heartbeat.beat(step + 1)
        board.scalars(step + 1, training.scalars)
        if folder is not None and time.monotonic() - checkpointed > surroundings.checkpoint_seconds and unread.read():
            if processes.rank() == 0:
                content = {"step": step + 1, "training": training.state()}
                content["trace"] = trace.saved(time.perf_counter() - begun)
                write_checkpoint(folder, _conditions(surroundings), content)
            checkpointed = time.monotonic()
    _look(training, run.steps, trace, board)


@final
class _Unread:
    """Losses that have been computed and not yet read, with the time since the last reading."""

    def __init__(self, trace: _Trace) -> None:
        self._trace = trace
        self._losses: list[Tensor] = []
        self._start = time.perf_counter()

    def __len__(self) -> int:
        return len(self._losses)

    def start(self) -> None:
        """Begin to measure time, unless losses are waiting, whose time runs."""
        if not self._losses:
            self._start = time.perf_counter()

    def add(self, loss: Tensor) -> None:
        self._losses.append(loss)

    def read(self) -> bool:
        """Move the losses to the trace up to the first that is not finite; return whether all were."""
        if not self._losses:
            return True
        values = torch.stack(self._losses).tolist()
        seconds = (time.perf_counter() - self._start) / len(values)
        self._losses = []
        for value in values:
            if not math.isfinite(value):
                self._trace.diverged_at = len(self._trace.losses)
                return False
            self._trace.losses.append(value)
            self._trace.step_seconds.append(seconds)
        return True


def _look(training: Training, step: int, trace: _Trace, board: Board) -> bool:
    """Add a snapshot to the trace, or that the network has diverged; return whether it is well."""
    validation = training.evaluate("validation")
    if not math.isfinite(validation.loss):
        trace.diverged_at = step
        return False
    errors = [weight.orthogonality_error().item() for weight in spectral_weights(training.network).values()]
    values = network_spectra(training.network)
    trace.snapshots.append(Snapshot(step, validation, max(errors, default=None), values))
    board.look(step, validation, training.samples)
    return True
