"""What a run leaves behind, and its form on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, Final, Self, final

from .case import FORMAT, Run
from .kind import read_run

# A training loss is noisy from batch to batch: where one number stands for it, it is the mean over the last steps.
LAST_STEPS: Final = 15


@final
@dataclass(frozen=True)
class Look:
    """What is seen of a trial after a number of steps.

    Attributes:
        step: number of steps made.
        measures: numbers by name, such as ``validation_score`` or ``gap``; None for what is not known.
        spectra: singular values of each weight by its layer, in descending order.
    """

    step: int
    measures: Mapping[str, float | None]
    spectra: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values, as ``dataclasses.asdict`` makes them."""
        spectra = {layer: tuple(found) for layer, found in values["spectra"].items()}
        return cls(values["step"], dict(values["measures"]), spectra)


@final
@dataclass(frozen=True)
class Timing:
    """What a run cost; unlike all else it differs from one execution to the next.

    Attributes:
        step_seconds: wall-clock time of each step: batch, forward, backward, optimizer.
        total_seconds: wall-clock time of the whole run, with the looks.
        peak_memory: largest resident set of the process while it ran, or memory of the device, in bytes; where the case
            does not measure it, that of earlier runs counts, too.
        base_memory: resident set before it ran: interpreter, libraries, data; in bytes.
        threads: number of threads of torch.
        load: how many processes wanted a core on average (the system's load over a minute); None if unknown.
        processor: its name; None if unknown.
        ended: when the run ended, in seconds since 1970; None if unknown.
    """

    step_seconds: tuple[float, ...]
    total_seconds: float
    peak_memory: int
    base_memory: int
    threads: int
    load: float | None = None
    processor: str | None = None
    ended: float | None = None


@final
@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes:
        run: what was run.
        diverged_at: the step at which a loss or measure was not finite, or 0 where the optimizer refused its learning
            rate; None for a run that went well.
        reason: why the run ended before its last step, if it did; None for others.
        facts: what is known from the start, such as ``z``; None for what the case does not have.
        losses: loss of each step; empty where the trial has none.
        looks: on the way; the first is at the start, the last at the end.
        final: measures at the end that are made but once, such as ``test_score``; empty for a run that diverged.
        timing: what it cost.
        environment: versions of what it ran on.
    """

    run: Run
    diverged_at: int | None
    reason: str | None
    facts: Mapping[str, float | None]
    losses: tuple[float, ...]
    looks: tuple[Look, ...]
    final: Mapping[str, float | None]
    timing: Timing
    environment: Mapping[str, str]

    @property
    def diverged(self) -> bool:
        """Whether something was not finite at some step."""
        return self.diverged_at is not None

    @property
    def steps(self) -> int:
        """Number of steps of the last look."""
        return self.looks[-1].step if self.looks else 0

    @property
    def final_loss(self) -> float | None:
        """Mean loss over the last steps; None for a run that diverged or has none."""
        last = self.losses[-LAST_STEPS:]
        return None if self.diverged or not last else sum(last) / len(last)

    def last(self, measure: str) -> float | None:
        """Return a measure at the end; None for a run that diverged or does not have it."""
        if self.diverged:
            return None
        return self.final[measure] if measure in self.final else self.looks[-1].measures.get(measure)

    def series(self, measure: str) -> tuple[float, ...]:
        """Return a measure at all looks that have it."""
        values = (look.measures.get(measure) for look in self.looks)
        return tuple(value for value in values if value is not None)

    def largest(self, measure: str) -> float | None:
        """Return the largest value of a measure at any look; None where it is not known."""
        return max(self.series(measure), default=None)

    @property
    def look_seconds(self) -> tuple[float, ...]:
        """Wall-clock time of all steps up to each look."""
        sums = [0.0, *accumulate(self.timing.step_seconds)]
        return tuple(sums[min(look.step, len(sums) - 1)] for look in self.looks)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {name: value for name, value in vars(self).items() if name not in ("run", "looks", "timing")}
        looks = [asdict(look) for look in self.looks]
        return {"format": FORMAT, "run": self.run.to_dict(), **values, "looks": looks, "timing": asdict(self.timing)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: the format is another one.
            KeyError, TypeError: something is missing, or there is too much.
        """
        content = dict(data)
        written = content.pop("format")
        if written != FORMAT:
            raise ValueError(f"format must be {FORMAT}, got {written!r}")
        timing = dict(content.pop("timing"))
        content |= {
            "run": read_run(content["run"]),
            "losses": tuple(content["losses"]),
            "looks": tuple(Look.from_dict(look) for look in content["looks"]),
            "timing": Timing(**timing | {"step_seconds": tuple(timing["step_seconds"])}),
        }
        return cls(**content)
