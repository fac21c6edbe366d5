"""A finished study in numbers: one curve a case, at its chosen learning rate and over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast, final

from ..._plain import Plain
from ...definition import Study
from ...register import Appearance
from ...report.intervals import Interval
from ...result import Result
from ...schedule import Results, chosen_runs, progress
from ...turns import Turn
from .lines import factors_of, lines_of, looks_of, titles_of

if TYPE_CHECKING:
    from ..case import TrainingCase

MEBIBYTE: Final = 2**20
DENSE: Final = "dense"
NORMALIZED: Final = ("sn", "sr")
# The geometries of the parameterizations that this package has; whatever else there is came from somebody else.
GEOMETRIES: Final = ("stiefel", "grassmann", "householder", "householder-reduced")
OURS: Final = {"svdp": GEOMETRIES, "sttp": GEOMETRIES, DENSE: (None,)} | dict.fromkeys(NORMALIZED, (None,))


@final
@dataclass(frozen=True)
class Curve:
    """A case at its chosen learning rate, over seeds.

    Attributes:
        case: the method at its rank.
        title: the method as readers see it.
        line: what curves that differ in their rank alone are called together.
        look: of the line in plots.
        results: of the seeds that are finished, in the study's order.
        learning_rate: the chosen one.
        at_edge: whether it is the smallest or the largest that was tried.
        factors: what else differs among the study's cases, by name; None for what this case does not have.
        turn: times of its steps that were taken in turns with the others'; None where there are none.
    """

    case: TrainingCase
    title: str
    line: str
    look: Appearance
    results: tuple[Result, ...]
    learning_rate: float
    at_edge: bool = False
    factors: Mapping[str, Plain] = field(default_factory=dict)
    turn: Turn | None = None

    @property
    def name(self) -> str:
        """The curve in words."""
        return self.line if self.case.rank is None else f"{self.line}, rank {self.case.rank}"

    @property
    def method(self) -> str:
        """The method by the names that definitions have, such as ``sttp stiefel``."""
        return " ".join(word for word in (self.case.parameterization, self.case.geometry) if word is not None)

    @property
    def is_dense(self) -> bool:
        """Whether the weights are plain matrices that nothing constrains."""
        return self.case.parameterization == DENSE

    @property
    def is_normalized(self) -> bool:
        """Whether the weights are plain matrices that a baseline normalizes."""
        return self.case.parameterization in NORMALIZED

    @property
    def is_foreign(self) -> bool:
        """Whether the method came from outside this package."""
        return self.case.geometry not in OURS.get(self.case.parameterization, ())

    @property
    def conditions(self) -> dict[str, Plain]:
        """What two curves must have in common for their methods to be compared, beside the rank."""
        return {"spectrum": self.case.spectrum, **self.factors}

    def likeness(self, other: Curve) -> int:
        """Return how many of these conditions another curve has in common."""
        return sum(other.conditions.get(name) == value for name, value in self.conditions.items())

    @property
    def finished(self) -> list[Result]:
        """Results that did not diverge."""
        return [result for result in self.results if not result.diverged]

    @property
    def z(self) -> float | None:
        """Compression in percent; None where it is not known."""
        return self.results[0].facts.get("z")

    @property
    def scores(self) -> dict[int, float]:
        """Test scores by seed."""
        found = {result.run.seed: result.last("test_score") for result in self.results}
        return {seed: score for seed, score in found.items() if score is not None}

    @property
    def test(self) -> Interval:
        """Test score over the seeds that did not diverge."""
        return Interval.of(self.scores.values())

    @property
    def training_loss(self) -> Interval:
        """Training loss at the end over the seeds that did not diverge."""
        return Interval.of(result.final_loss for result in self.results if result.final_loss is not None)

    def measure(self, name: str) -> Interval:
        """Return a measure at the end over the seeds that did not diverge."""
        values = (result.last(name) for result in self.results)
        return Interval.of(value for value in values if value is not None)

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return sum(result.diverged for result in self.results)

    @property
    def step_milliseconds(self) -> float | None:
        """Median time of a step, in turns with the other curves if that was measured; None where no step was made."""
        if self.turn is not None:
            return 1e3 * self.turn.median
        seconds = [second for result in self.results for second in result.timing.step_seconds]
        return 1e3 * statistics.median(seconds) if seconds else None

    @property
    def step_quartiles(self) -> tuple[float, float] | None:
        """Quartiles of the times that were taken in turns, in milliseconds; None where there are none."""
        if self.turn is None:
            return None
        low, high = self.turn.spread
        return 1e3 * low, 1e3 * high

    @property
    def peak_memory(self) -> float:
        """Largest peak memory of a run, in MiB."""
        return max(result.timing.peak_memory for result in self.results) / MEBIBYTE

    @property
    def orthogonality_error(self) -> float | None:
        """Largest ‖XᵀX − I‖_F over frames, looks and seeds; None for weights without frames."""
        errors = (result.largest("orthogonality_error") for result in self.results)
        return max((error for error in errors if error is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        case = self.case
        return {
            "method": self.method,
            "parameterization": case.parameterization,
            "geometry": case.geometry,
            "spectrum": case.spectrum,
            "rank": case.rank,
            **self.factors,
            "z": self.z,
            "learning_rate": self.learning_rate,
            "learning_rate_at_edge": self.at_edge,
            "test": asdict(self.test),
            "validation": asdict(self.measure("validation_score")),
            "training_loss": asdict(self.training_loss),
            "diverged": self.diverged,
            "step_milliseconds": self.step_milliseconds,
            "step_quartiles": None if self.step_quartiles is None else list(self.step_quartiles),
            "peak_memory_mib": self.peak_memory,
            "orthogonality_error": self.orthogonality_error,
        }


def curves_of(
    study: Study, results: Results, presentation: Mapping[str, Any], turns: Sequence[Turn]
) -> tuple[Curve, ...]:
    """Return the curves of all cases that have a learning rate, in the study's order."""
    cases = cast("tuple[TrainingCase, ...]", study.cases)
    methods = presentation["methods"]
    titles, factors = titles_of(cases, methods), factors_of(cases)
    lines = lines_of(cases, titles, factors)
    looks = looks_of(cases, lines, methods)
    by_run = {turn.run: turn for turn in turns}
    curves = []
    for case in cases:
        state = progress(study, case, results)
        found = tuple(results[run] for run in chosen_runs(study, case, results) if run in results)
        if not found or state is None or state.chosen is None:
            continue
        turn = next((by_run[r.run.identifier] for r in found if r.run.identifier in by_run), None)
        others = {name: values[case] for name, values in factors.items()}
        line = lines[case]
        curves.append(Curve(case, titles[case], line, looks[line], found, state.chosen, state.at_edge, others, turn))
    return tuple(curves)


def by_line(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Return curves by their lines, each in the order of their ranks."""
    found: dict[str, list[Curve]] = {}
    for curve in sorted(curves, key=lambda curve: curve.case.rank or 0):
        found.setdefault(curve.line, []).append(curve)
    return {line: found[line] for line in dict.fromkeys(curve.line for curve in curves)}


def ranks_of(curves: Sequence[Curve]) -> list[int | None]:
    """Return the ranks in ascending order; None alone where no curve has one."""
    ranks = sorted({curve.case.rank for curve in curves if curve.case.rank is not None})
    return [*ranks] or [None]


def size(z: float | None) -> str:
    """Return a compression as readers see it."""
    return "unknown" if z is None else f"{z:.1f} %"
