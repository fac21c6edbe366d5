"""A finished study in numbers: one curve a case, at its chosen learning rate and over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast, final

from ..._plain import Plain, short, tupled
from ...definition import Study
from ...register import Appearance, default_look
from ...report.intervals import Interval
from ...report.reached import Reached, look_of
from ...schedule import Results
from ...turns import Turn

if TYPE_CHECKING:
    from ..case import TrainingCase

# What a method with its rank is; of all else that differs among cases readers are told by name.
_OF_METHODS: Final = ("parameterization", "geometry", "spectrum", "rank")
_OF_FRAMES: Final = ("retraction", "metric")  # which plain weights do not have
MEBIBYTE: Final = 2**20
DENSE: Final = "dense"
NORMALIZED: Final = ("sn", "sr")
# The geometries of the parameterizations that this package has; whatever else there is came from somebody else.
GEOMETRIES: Final = ("stiefel", "grassmann", "householder", "householder-reduced")
OURS: Final = {"svdp": GEOMETRIES, "sttp": GEOMETRIES, DENSE: (None,)} | dict.fromkeys(NORMALIZED, (None,))


@final
@dataclass(frozen=True, kw_only=True)
class Curve(Reached):
    """A case at its chosen learning rate, over seeds.

    Attributes:
        title: the method as readers see it.
        line: what curves that differ in their rank alone are called together.
        look: of the line in plots.
        factors: what else differs among the study's cases, by name; None for what this case does not have.
    """

    case: TrainingCase
    title: str
    line: str
    look: Appearance
    learning_rate: float
    factors: Mapping[str, Plain] = field(default_factory=dict)

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
    def z(self) -> float | None:
        """Compression in percent; None where it is not known."""
        return self.results[0].facts.get("z")

    @property
    def stored(self) -> int | None:
        """How many numbers of the layers that it changes a method trains; None of one that is no change."""
        return self._count("stored")

    @property
    def dimension(self) -> int | None:
        """The dimension of what these numbers reach."""
        return self._count("dimension")

    @property
    def scores(self) -> dict[int, float]:
        """Test scores by seed."""
        found = {result.run.seed: result.last("test_score") for result in self.results}
        return {seed: score for seed, score in found.items() if score is not None}

    @property
    def training_loss(self) -> Interval:
        """Training loss at the end over the seeds that did not diverge."""
        return Interval.of(result.final_loss for result in self.results if result.final_loss is not None)

    def measure(self, name: str) -> Interval:
        """Return a measure at the end over the seeds that did not diverge."""
        values = (result.last(name) for result in self.results)
        return Interval.of(value for value in values if value is not None)

    @property
    def step_milliseconds(self) -> float | None:
        """Median time of a step, in turns with the other curves if that was measured; None where no step was made."""
        return None if self.step_seconds is None else 1e3 * self.step_seconds

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
            "test": asdict(self.measure("test_score")),
            "validation": asdict(self.measure("validation_score")),
            "training_loss": asdict(self.training_loss),
            "diverged": self.diverged,
            "step_milliseconds": self.step_milliseconds,
            "step_quartiles": None if self.step_quartiles is None else list(self.step_quartiles),
            "peak_memory_mib": self.peak_memory,
            "orthogonality_error": self.orthogonality_error,
        }

    def _count(self, fact: str) -> int | None:
        found = self.results[0].facts.get(fact)
        return None if found is None else int(found)


def curves_of(
    study: Study, results: Results, presentation: Mapping[str, Any], turns: Sequence[Turn]
) -> tuple[Curve, ...]:
    """Return the curves of all cases that have a learning rate, in the study's order."""
    cases = cast("tuple[TrainingCase, ...]", study.cases)
    methods = presentation["methods"]
    titles = {case: str(methods.get(case.method, {}).get("title") or case.method) for case in cases}
    factors = factors_of(cases)
    lines = lines_of(cases, titles, factors)
    first = {lines[case]: methods.get(case.method, {}) for case in reversed(cases)}
    places = enumerate(dict.fromkeys(lines.values()))
    looks = {line: look_of(first[line]) or default_look(position) for position, line in places}
    by_run = {turn.run: turn for turn in turns}
    curves = []
    for case in cases:
        others = {name: values[case] for name, values in factors.items()}
        own = {"title": titles[case], "line": lines[case], "look": looks[lines[case]], "factors": others}
        curve = Curve.of(study, case, results, by_run, **own)
        curves += [] if curve is None else [curve]
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


def factors_of(cases: Sequence[TrainingCase]) -> dict[str, dict[TrainingCase, Plain]]:
    """Return what differs among cases beside their methods and ranks, by name."""
    values = {case: _flat(case.to_dict()) for case in cases}
    names = dict.fromkeys(name for found in values.values() for name in found if name not in _OF_METHODS)
    # Settings at their defaults are not among a case's values.
    columns = {
        name: {case: values[case].get(name, getattr(case.settings, name, None)) for case in cases} for name in names
    }
    return {name: column for name, column in columns.items() if _differ(column.values(), name in _OF_FRAMES)}


def lines_of(
    cases: Sequence[TrainingCase],
    titles: Mapping[TrainingCase, str],
    factors: Mapping[str, Mapping[TrainingCase, Plain]],
) -> dict[TrainingCase, str]:
    """Return the name of each case's line: its method's title, and what differs among the cases of that title."""
    own = {name: {case: getattr(case, name) for case in cases} for name in _OF_METHODS if name != "rank"}
    columns = own | dict(factors)
    found = {}
    for case in cases:
        rivals = [other for other in cases if titles[other] == titles[case]]
        differing = [name for name, column in columns.items() if _differ(column[other] for other in rivals)]
        words = [f"{name} {short(value)}" for name in differing if (value := columns[name][case]) is not None]
        found[case] = ", ".join([titles[case], *words])
    return found


def _flat(values: Mapping[str, Any]) -> dict[str, Plain]:
    """Return settings and options side by side with the other values."""
    found: dict[str, Plain] = {}
    for name, value in values.items():
        found |= _flat(value) if isinstance(value, Mapping) else {name: tupled(value)}
    return found


def _differ(values: Iterable[object], but_for_none: bool = False) -> bool:
    return len({repr(value) for value in values if value is not None or not but_for_none}) > 1
