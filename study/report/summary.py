"""A finished study in numbers: one summary a curve."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any, final

from ..curve import Curve
from ..result import Result
from ..selection import Results, chosen_runs, search
from ..study import Study
from .intervals import Interval

MEBIBYTE = 2**20
LOSS = "loss"


@final
@dataclass(frozen=True)
class CurveSummary:
    """A curve at its chosen learning rate, over seeds.

    Attributes:
        curve: the method and rank.
        results: of the seeds that are finished, in the study's order.
        learning_rate: the chosen one.
        at_edge: whether it lies at the edge of the extended grid.
    """

    curve: Curve
    results: tuple[Result, ...]
    learning_rate: float
    at_edge: bool

    @property
    def z(self) -> float:
        """Compression in percent."""
        return self.results[0].z

    @property
    def test(self) -> Interval:
        """Test score over the seeds that did not diverge."""
        return Interval.of(result.test.score for result in self.results if result.test is not None)

    @property
    def validation(self) -> Interval:
        """Validation score over the seeds that did not diverge."""
        return Interval.of(result.validation.score for result in self.results if result.validation is not None)

    def other(self, name: str) -> Interval:
        """Another measure on the test split over the seeds that did not diverge; ``loss`` is the loss there."""
        tests = [result.test for result in self.results if result.test is not None]
        values = [test.loss if name == LOSS else test.others.get(name) for test in tests]
        return Interval.of(value for value in values if value is not None)

    @property
    def training_loss(self) -> Interval:
        """Training loss at the end over the seeds that did not diverge."""
        return Interval.of(result.final_loss for result in self.results if result.final_loss is not None)

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return sum(result.diverged for result in self.results)

    @property
    def step_milliseconds(self) -> float | None:
        """Median time of a step over all steps and seeds; None where no step was made."""
        seconds = [second for result in self.results for second in result.timing.step_seconds]
        return 1e3 * statistics.median(seconds) if seconds else None

    @property
    def peak_memory(self) -> float:
        """Largest peak memory of a run, in MiB."""
        return max(result.timing.peak_memory for result in self.results) / MEBIBYTE

    @property
    def orthogonality_error(self) -> float | None:
        """Largest ‖XᵀX − I‖_F over frames, snapshots and seeds; None for `dense`."""
        errors = [result.orthogonality_error for result in self.results]
        return max((error for error in errors if error is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "parameterization": self.curve.method.parameterization,
            "geometry": self.curve.method.geometry,
            "spectrum": self.curve.spectrum,
            "rank": self.curve.rank,
            "z": self.z,
            "learning_rate": self.learning_rate,
            "learning_rate_at_edge": self.at_edge,
            "test": asdict(self.test),
            "validation": asdict(self.validation),
            "training_loss": asdict(self.training_loss),
            "diverged": self.diverged,
            "step_milliseconds": self.step_milliseconds,
            "peak_memory_mib": self.peak_memory,
            "orthogonality_error": self.orthogonality_error,
        }


def summarize(study: Study, results: Results) -> list[CurveSummary]:
    """Return the summaries of all curves that have a learning rate, in the study's order."""
    summaries = []
    for curve in study.curves:
        found = tuple(results[run] for run in chosen_runs(study, curve, results) if run in results)
        state = search(study, curve, results)
        if found and state.chosen is not None:
            summaries.append(CurveSummary(curve, found, state.chosen, state.at_edge))
    return summaries
