"""Honest times: steps of all cases, taken in turns on one worker, so that whatever slows the machine slows all."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, final

import numpy as np
import torch

from .case import Run
from .loop import RateRefusedError, load
from .surroundings import Surroundings
from .trial import Trial

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
        load: of the system, in the middle of the rounds; None if unknown.
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**values, "seconds": tuple(values["seconds"])})


def take_turns(runs: Sequence[Run], surroundings: Surroundings, rounds: int = ROUNDS) -> tuple[Turn, ...]:
    """Begin all runs anew, and time steps of one after another, round by round. Nothing is written.

    A run that has ended, diverged or is refused within the rounds has no turn.
    """
    trials: dict[Run, Trial] = {}
    times: dict[Run, list[float]] = {run: [] for run in runs}
    made = dict.fromkeys(runs, 0)
    with torch.random.fork_rng(devices=[]):
        for run in runs:
            torch.manual_seed(run.seed)
            trials[run] = run.case.begin(run, surroundings)
        for turn in range(rounds + 1):  # the first one warms up
            for run in list(trials):
                seconds = _round(trials[run], run, made)
                if seconds is None:
                    del trials[run]
                elif turn:
                    times[run].append(seconds)
    now = load()
    return tuple(Turn(run.identifier, tuple(times[run]), now) for run in runs if len(times[run]) == rounds)


def _round(trial: Trial, run: Run, made: dict[Run, int]) -> float | None:
    """Make steps; return the median of their times, None where the trial has no more of them."""
    seconds: list[float] = []
    while len(seconds) < STEPS and sum(seconds) < SECONDS:
        if made[run] >= run.case.steps:
            return None
        start = time.perf_counter()
        try:
            loss = trial.step(made[run])
        except (RateRefusedError, torch.linalg.LinAlgError):  # type: ignore[attr-defined]  # it is there, and documented
            return None
        if loss is None:
            return None
        float(loss)  # waits for the device
        own = trial.step_seconds(made[run])
        seconds.append(time.perf_counter() - start if own is None else own)
        made[run] += 1
    return float(np.median(seconds))
