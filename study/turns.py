"""Honest times: steps of all cases, taken in turns on one worker, so that whatever slows the machine slows all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # it is there, and documented

from .case import Run
from .loop import RateRefusedError
from .machine import load
from .random_streams import seed_all, seeded
from .surroundings import Surroundings

ROUNDS: Final = 9
STEPS: Final = 10  # of a case in a round
SECONDS: Final = 1.0  # after which a case's round ends, so that large networks are not waited for


@final
@dataclass(frozen=True)
class Turn:
    """Times of a case's steps.

    Attributes:
        run: identifier of the run whose steps were made.
        seconds: of a step, one a round: the median of the round's steps.
        load: how many processes wanted a core while the steps were made, this one among them: the median over the
            rounds; None if unknown.
    """

    run: str
    seconds: tuple[float, ...]
    load: float | None

    @property
    def median(self) -> float:
        """The time of a step, in seconds."""
        return float(np.median(self.seconds))

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles over the rounds, in seconds."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)

    def times_as_long(self, other: Turn) -> list[float]:
        """Return how many times as long as another case's a step took, round by round: what slowed one slowed both."""
        return [ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=False) if theirs > 0]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values, as ``dataclasses.asdict`` makes them."""
        return cls(**{**values, "seconds": tuple(values["seconds"])})


def take_turns(runs: Sequence[Run], surroundings: Surroundings, rounds: int = ROUNDS) -> tuple[Turn, ...]:
    """Begin all runs anew, and time steps of one after another, round by round. Nothing is written.

    A run that ends before its rounds do begins again; one that cannot make a step has no turn.
    """
    times: dict[Run, list[float]] = {run: [] for run in runs}
    loads: list[float] = []
    with seeded(0):  # each contestant begins with its own seed
        contestants = {run: _Contestant(run, surroundings) for run in runs}
        for turn in range(rounds + 1):  # the first one warms up
            for run in list(contestants):
                seconds = contestants[run].round()
                if seconds is None:
                    del contestants[run]
                elif turn:
                    times[run].append(seconds)
            loads.extend(_runnable())
    busy = float(np.median(loads)) if loads else load()
    return tuple(Turn(run.identifier, tuple(times[run]), busy) for run in runs if len(times[run]) == rounds)


@final
class _Contestant:
    """A run whose steps are timed."""

    def __init__(self, run: Run, surroundings: Surroundings) -> None:
        self._run, self._surroundings = run, surroundings
        self._begin()

    def _begin(self) -> None:
        seed_all(self._run.seed)
        self._trial = self._run.case.begin(self._run, self._surroundings)
        self._made = 0

    def round(self) -> float | None:
        """Make steps; return the median of their times, None where the run cannot make one."""
        seconds: list[float] = []
        while len(seconds) < STEPS and sum(seconds) < SECONDS:
            if self._made >= self._run.case.steps:
                self._begin()
            found = self._step()
            if found is None:
                if self._made == 0:
                    return None
                self._begin()
            else:
                seconds.append(found)
        return float(np.median(seconds))

    def _step(self) -> float | None:
        start = time.perf_counter()
        try:
            loss = self._trial.step(self._made)
        except (RateRefusedError, LinAlgError, FloatingPointError):
            return None
        if loss is None:
            return None
        float(loss)  # waits for the device
        seconds = time.perf_counter() - start
        own = self._trial.step_seconds(self._made)
        self._made += 1
        return seconds if own is None else own


def _runnable() -> list[float]:
    """Return how many processes want a core at this moment, where the system tells: its mean looks back too far."""
    try:
        return [float(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])]
    except (OSError, ValueError, IndexError):
        return []
