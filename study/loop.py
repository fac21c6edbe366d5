"""The one loop in which every run is made: steps, looks, losses, times, checkpoints."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented

from . import processes
from .case import Run
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
    device = surroundings.device
    # The GPU whose generator a run draws from, if any.
    cards = [torch.device(device).index or 0] if device.startswith("cuda") else []
    with seeded(run.seed, cards):
        run.case.warm_up(run, surroundings)
        if run.case.measures_memory:
            reset_peak_memory(device)
        base_memory = peak_memory(device)
        loop = _Loop(run, surroundings, cards)
        with closing(open_board(run, surroundings, loop.folder)) as loop.board:
            loop.run()
        final = {} if loop.diverged_at is not None else _finite(run, loop.trial.finish())
        if loop.folder is not None and processes.rank() == 0:
            require_study(loop.folder.parent.parent)
            write_samples(loop.folder, loop.trial)
    timing = Timing(
        tuple(loop.step_seconds),
        loop.seconds,
        peak_memory(device),
        base_memory,
        torch.get_num_threads(),
        load(),
        processor(),
        time.time(),
    )
    versions = environment() | ({} if device == "cpu" else {"device": device})
    found = loop.diverged_at, loop.trial.reason, loop.facts, tuple(loop.losses), tuple(loop.looks)
    return Result(run, *found, final, timing, versions)


def _finite(run: Run, measures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return measures, None for those that are not finite, of which a warning tells."""
    bad = [name for name, value in measures.items() if value is not None and not math.isfinite(value)]
    if bad:
        warnings.warn(f"run {run.name!r}: {', '.join(bad)} at the end not finite, and so left out", stacklevel=3)
    return {name: None if name in bad else value for name, value in measures.items()}


@final
class _Loop:
    """A run at its start, or where its checkpoint is: makes all steps from there, with looks and checkpoints."""

    def __init__(self, run: Run, surroundings: Surroundings, cards: list[int]) -> None:
        self._begun, self._earlier_seconds = time.perf_counter(), 0.0
        seed_all(run.seed)  # a network, an optimizer or a loss may draw from the global generators
        self._run, self._surroundings, self._cards = run, surroundings, cards
        self.losses: list[float] = []
        self.step_seconds: list[float] = []
        self.looks: list[Look] = []
        self.diverged_at: int | None = None
        self.board = Board()
        self.folder = surroundings.run_folder(run.identifier)
        self.trial = run.case.begin(run, surroundings)
        self.facts = self.trial.facts()
        # What must be the same for a run to go on where it was.
        own = {"run": run.identifier, "device": surroundings.device, "threads": str(torch.get_num_threads())}
        self._conditions = environment() | own
        saved = None if self.folder is None else read_checkpoint(self.folder, self._conditions)
        if saved is not None:
            self._restore(saved)
        steps = self.trial.look_steps
        self._look_steps = None if steps is None else frozenset(steps)
        self._reading = 1 if surroundings.device == "cpu" else STEPS_A_READING
        self._unread: list[Tensor | float] = []
        self._started = 0.0

    @property
    def seconds(self) -> float:
        """How long the run has gone on, before it was last begun and since."""
        return self._earlier_seconds + time.perf_counter() - self._begun

    def run(self) -> None:
        """Make all steps, or those up to the one at which the run diverges or the trial ends."""
        first, last = len(self.step_seconds), self._run.case.steps
        heartbeat = Heartbeat(self.folder if processes.rank() == 0 else None, first, last)
        checkpointed = time.monotonic()
        if first == 0 and not self._look(0):
            return
        for step in range(first, last):
            if not self._unread:
                self._started = time.perf_counter()
            try:
                loss = self.trial.step(step)
            except RateRefusedError as error:
                self.diverged_at, self.trial.reason = step, f"refused: {error}"
                return
            except (LinAlgError, FloatingPointError):  # a finite loss with a gradient that is not
                if self._read():
                    self.diverged_at = step
                return
            if loss is None:
                if self._read() and self._seen != step:
                    self._look(step)
                return
            self._unread.append(loss)
            done = step + 1
            looks = done == last or self._look_steps is None or done in self._look_steps
            if (looks or len(self._unread) >= self._reading) and not self._read():
                return
            if looks and not self._look(done):
                return
            heartbeat.beat(done)
            self.board.scalars(done, self.trial.scalars)
            if self._due(checkpointed) and self._read():
                self._write(done)
                checkpointed = time.monotonic()

    @property
    def _seen(self) -> int:
        """Number of steps at the last look, -1 before the first."""
        return self.looks[-1].step if self.looks else -1

    def _look(self, step: int) -> bool:
        """Add a look to the trace, or that the run has diverged; return whether it is well."""
        look = self.trial.look(step)
        if not all(value is None or math.isfinite(value) for value in look.measures.values()):
            self.diverged_at = step
            return False
        self.looks.append(look)
        self.board.look(look, self.trial.samples)
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
                self.diverged_at = len(self.losses)
                return False
            own = self.trial.step_seconds(len(self.losses))
            self.losses.append(value)
            self.step_seconds.append(seconds if own is None else own)
        return True

    def _due(self, checkpointed: float) -> bool:
        return self.folder is not None and time.monotonic() - checkpointed > self._surroundings.checkpoint_seconds

    def _write(self, done: int) -> None:
        state = self.trial.state()
        if state is None or self.folder is None or processes.rank() != 0:
            return
        require_study(self.folder.parent.parent)
        trace = {
            "losses": self.losses,
            "step_seconds": self.step_seconds,
            "looks": [asdict(look) for look in self.looks],
            "earlier_seconds": self.seconds,
        }
        content = {"step": done, "trial": state, "trace": trace, "random": states(self._cards)}
        write_checkpoint(self.folder, self._conditions, content)

    def _restore(self, saved: dict[str, Any]) -> None:
        self.trial.restore(saved["trial"], saved["step"])
        trace = saved["trace"]
        self.losses, self.step_seconds = trace["losses"], trace["step_seconds"]
        self.looks = [Look.from_dict(look) for look in trace["looks"]]
        self._earlier_seconds = trace["earlier_seconds"]
        set_states(saved["random"], self._cards)
