"""The one loop in which every run is made: steps, looks, losses, times, checkpoints."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented

from . import processes
from .case import Run, Trial
from .heartbeat import Heartbeat, require_study
from .machine import environment, load, peak_memory, processor, reset_peak_memory
from .random_streams import seed_all, seeded, set_states, states
from .result import Look, Result, Timing
from .run_files import Board, open_board, read_checkpoint, write_checkpoint, write_samples
from .surroundings import Surroundings

# A GPU is asked for its losses once in so many steps: each question makes it wait.
STEPS_A_READING: Final = 20


class RateRefusedError(ValueError):
    """An optimizer does not take the learning rate that a search has come to; the run counts as one that diverged."""


def perform(run: Run, surroundings: Surroundings | None = None) -> Result:
    """Make a run, and return its result, which is for the caller to write. The global generators are left alone.

    Where the surroundings have a folder, the run writes checkpoints there and goes on from the one it finds. The
    outcome but for its timing depends on the run, the versions of the libraries, the device and the number of torch's
    threads; on a CPU to the last digit.
    """
    surroundings = surroundings or Surroundings()
    cards = _cards(surroundings.device)
    with seeded(run.seed, cards):
        run.case.warm_up(run, surroundings)
        if run.case.measures_memory:
            reset_peak_memory(surroundings.device)
        base_memory = peak_memory(surroundings.device)
        start = time.perf_counter()
        seed_all(run.seed)  # a network, an optimizer or a loss may draw from the global generators
        trace = _Trace()
        folder = surroundings.run_folder(run.identifier)
        trial = run.case.begin(run, surroundings)
        facts = trial.facts()
        saved = None if folder is None else read_checkpoint(folder, _conditions(run, surroundings))
        if saved is not None:
            trial.restore(saved["trial"], saved["step"])
            trace = _Trace.restored(saved["trace"])
            set_states(saved["random"], cards)
        with open_board(run, surroundings, folder) as board:
            _Loop(run, trial, trace, surroundings, folder, board, start).run()
        final = {} if trace.diverged_at is not None else _finite(run, trial.finish())
        if folder is not None and processes.rank() == 0:
            require_study(folder.parent.parent)
            write_samples(folder, trial)
    timing = Timing(
        tuple(trace.step_seconds),
        trace.earlier_seconds + time.perf_counter() - start,
        peak_memory(surroundings.device),
        base_memory,
        torch.get_num_threads(),
        load(),
        processor(),
        time.time(),
    )
    device = {} if surroundings.device == "cpu" else {"device": surroundings.device}
    losses, looks = tuple(trace.losses), tuple(trace.looks)
    return Result(run, trace.diverged_at, trial.reason, facts, losses, looks, final, timing, environment() | device)


def _conditions(run: Run, surroundings: Surroundings) -> dict[str, str]:
    """Return what must be the same for a run to go on where it was."""
    own = {"run": run.identifier, "device": surroundings.device, "threads": str(torch.get_num_threads())}
    return environment() | own


def _cards(device: str) -> list[int]:
    """Return the GPU whose generator a run draws from, if any."""
    return [torch.device(device).index or 0] if device.startswith("cuda") else []


def _finite(run: Run, measures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return measures, None for those that are not finite, of which a warning tells."""
    bad = [name for name, value in measures.items() if value is not None and not math.isfinite(value)]
    if bad:
        warnings.warn(f"run {run.name!r}: {', '.join(bad)} at the end not finite, and so left out", stacklevel=3)
    return {name: None if name in bad else value for name, value in measures.items()}


@final
@dataclass
class _Trace:
    """What is written down while a run is made."""

    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    diverged_at: int | None = None
    earlier_seconds: float = 0.0

    def saved(self, seconds: float) -> dict[str, Any]:
        """Return plain values for a checkpoint, of a run that has gone on for so long since it was last begun."""
        return asdict(self) | {"earlier_seconds": self.earlier_seconds + seconds}

    @classmethod
    def restored(cls, data: Mapping[str, Any]) -> _Trace:
        """Read what :meth:`saved` returned."""
        return cls(**{**data, "looks": [Look.from_dict(look) for look in data["looks"]]})


@final
class _Loop:
    """Makes the steps that the trace does not have yet, with looks and checkpoints on the way."""

    def __init__(
        self,
        run: Run,
        trial: Trial,
        trace: _Trace,
        surroundings: Surroundings,
        folder: Path | None,
        board: Board,
        begun: float,
    ) -> None:
        self._run, self._trial, self._trace = run, trial, trace
        self._surroundings, self._folder, self._board, self._begun = surroundings, folder, board, begun
        steps = trial.look_steps
        self._looks = None if steps is None else frozenset(steps)
        self._reading = 1 if surroundings.device == "cpu" else STEPS_A_READING
        self._unread: list[Tensor | float] = []
        self._started = 0.0

    def run(self) -> None:
        """Make all steps, or those up to the one at which the run diverges or the trial ends."""
        first, last = len(self._trace.step_seconds), self._run.case.steps
        heartbeat = Heartbeat(self._folder if processes.rank() == 0 else None, first, last)
        checkpointed = time.monotonic()
        if first == 0 and not self._look(0):
            return
        for step in range(first, last):
            if not self._unread:
                self._started = time.perf_counter()
            try:
                loss = self._trial.step(step)
            except RateRefusedError as error:
                self._trace.diverged_at, self._trial.reason = step, f"refused: {error}"
                return
            except (LinAlgError, FloatingPointError):  # a finite loss with a gradient that is not
                if self._read():
                    self._trace.diverged_at = step
                return
            if loss is None:
                if self._read() and self._seen != step:
                    self._look(step)
                return
            self._unread.append(loss)
            done = step + 1
            looks = done == last or self._looks is None or done in self._looks
            if (looks or len(self._unread) >= self._reading) and not self._read():
                return
            if looks and not self._look(done):
                return
            heartbeat.beat(done)
            self._board.scalars(done, self._trial.scalars)
            if self._due(checkpointed) and self._read():
                self._write(done)
                checkpointed = time.monotonic()

    @property
    def _seen(self) -> int:
        """Number of steps at the last look, -1 before the first."""
        return self._trace.looks[-1].step if self._trace.looks else -1

    def _look(self, step: int) -> bool:
        """Add a look to the trace, or that the run has diverged; return whether it is well."""
        look = self._trial.look(step)
        if not all(value is None or math.isfinite(value) for value in look.measures.values()):
            self._trace.diverged_at = step
            return False
        self._trace.looks.append(look)
        self._board.look(look, self._trial.samples)
        return True

    def _read(self) -> bool:
        """Move losses to the trace up to the first that is not finite; return whether all were."""
        if not self._unread:
            return True
        if isinstance(self._unread[0], Tensor):
            values = torch.stack([torch.as_tensor(loss) for loss in self._unread]).tolist()
        else:
            values = [float(loss) for loss in self._unread]
        seconds = (time.perf_counter() - self._started) / len(values)
        self._unread = []
        for value in values:
            if not math.isfinite(value):
                self._trace.diverged_at = len(self._trace.losses)
                return False
            own = self._trial.step_seconds(len(self._trace.losses))
            self._trace.losses.append(value)
            self._trace.step_seconds.append(seconds if own is None else own)
        return True

    def _due(self, checkpointed: float) -> bool:
        wait = self._surroundings.checkpoint_seconds
        return self._folder is not None and time.monotonic() - checkpointed > wait

    def _write(self, done: int) -> None:
        state = self._trial.state()
        if state is None or self._folder is None or processes.rank() != 0:
            return
        require_study(self._folder.parent.parent)
        content = {
            "step": done,
            "trial": state,
            "trace": self._trace.saved(time.perf_counter() - self._begun),
            "random": states(_cards(self._surroundings.device)),
        }
        write_checkpoint(self._folder, _conditions(self._run, self._surroundings), content)
