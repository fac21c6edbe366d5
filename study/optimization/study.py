"""A study of optimizers: the settings that are compared, one factor at a time, and what all of their runs share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final, final

from ..arguments import require_distinct, require_folder_name, require_integer, require_positive
from ..problems import Brockett, Completion, LeadingEigenspace, LowRankApproximation, Problem, Procrustes, Recovery
from .contestants import METHODS
from .digits_training import DigitsTraining
from .run import OptimizationRun
from .setting import EMBEDDED, Setting
from .trial import AnyProblem

KIND: Final = "optimizers"
# The factors, and what a reader calls them.
FACTORS: Final = {
    "optimizers": "Optimizers that step by a learning rate",
    "methods": "Full-batch methods",
    "retractions": "Retractions",
    "metrics": "Metrics",
    "geometries": "Geometries",
}
CENTRE: Final = Setting()
PROBLEMS_BY_DEFAULT: Final = (
    Procrustes(n=60, p=8, condition=30.0),
    Procrustes(n=12, p=12, condition=10.0),
    Brockett(n=60, p=4, condition=60.0),
    LeadingEigenspace(n=60, p=8, condition=30.0),
    LowRankApproximation(),
    Recovery(),
    Completion(noise=0.02),
    DigitsTraining(),
)


@final
@dataclass(frozen=True)
class OptimizerStudy:
    """One factor at a time around a centre, on problems whose answer is known and on training.

    Every setting that has a learning rate is given the same number of runs to find one on each problem, from a start
    that is used for nothing else: first a coarse grid, then the middle of the wider gap beside the best, or the next
    rate beyond where the best lies at an end. Then it runs from all seeds.

    Attributes:
        name: a short word, also of the folder of results.
        title: a line for the top of the report.
        problems: what is minimized.
        centre: the setting of which one choice at a time is changed.
        optimizers: names of optimizers that step by a learning rate, beside the centre's.
        methods: names of methods of ``minimize``; they run on problems whose cost is deterministic.
        retractions, metrics, geometries: names, beside the centre's. The metric `embedded` comes with the geometry
            `grassmann`.
        learning_rates: the coarse grid, ascending by one ratio.
        trials: number of runs that find a learning rate, the grid's included.
        tuning_seed: of the start of these runs.
        seeds: of the starts that are reported.
        steps: of a run on a problem with a known answer, and the most iterations of a method.
        training_steps: of a run of training.
        looks: how often the gap is read on the way.
        training_looks: how often it is in training, where that takes as long as two steps.
        tolerances: gaps at which the performance profiles are drawn, descending.

    Raises:
        ValueError: a name is unknown, a number out of range, or a list empty or with an entry twice.
        TypeError: a value is not of its kind.
    """

    name: str
    problems: tuple[AnyProblem, ...] = PROBLEMS_BY_DEFAULT
    title: str = ""
    centre: Setting = CENTRE
    optimizers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    retractions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    geometries: tuple[str, ...] = ()
    learning_rates: tuple[float, ...] = (0.003, 0.03, 0.3)
    trials: int = 5
    tuning_seed: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 300
    training_steps: int = 100
    looks: int = 50
    training_looks: int = 10
    tolerances: tuple[float, ...] = (1e-3, 1e-6)

    def __post_init__(self) -> None:
        require_folder_name("name", self.name)
        if not isinstance(self.title, str):
            raise TypeError(f"title must be a string, got {self.title!r}")
        for name in ("problems", "learning_rates", "seeds", "tolerances"):
            require_distinct(name, getattr(self, name))
        for problem in self.problems:
            if not isinstance(problem, AnyProblem):
                raise TypeError(f"problems must be objects such as Procrustes(), got {problem!r}")
        if not isinstance(self.centre, Setting) or self.centre.is_deterministic:
            raise TypeError(f"centre must be a Setting whose optimizer has a learning rate, got {self.centre!r}")
        for name in FACTORS:
            if getattr(self, name):
                require_distinct(name, getattr(self, name))
        for name in ("learning_rates", "tolerances"):
            for value in getattr(self, name):
                require_positive(name, value)
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if len(self.learning_rates) < 2 or list(self.learning_rates) != sorted(self.learning_rates):
            raise ValueError(f"learning_rates must be two at least and ascend, got {list(self.learning_rates)}")
        for name in ("steps", "training_steps", "looks", "training_looks"):
            require_integer(name, getattr(self, name), minimum=1)
        require_integer("trials", self.trials, minimum=len(self.learning_rates))
        for seed in (self.tuning_seed, *self.seeds):
            require_integer("seeds", seed)
        if self.tuning_seed in self.seeds:
            raise ValueError(f"tuning_seed must not be among the seeds, got {self.tuning_seed}; report other starts")
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"methods must be of {', '.join(METHODS)}, got {method!r}")
        for method in self.optimizers:
            if method in METHODS:
                raise ValueError(f"optimizers must have a learning rate, got {method!r}; list it under methods")
        _ = self.curves  # refuses names before the first run starts

    @cached_property
    def groups(self) -> dict[str, tuple[Setting, ...]]:
        """For each factor that has choices the settings, the centre first."""
        centre = self.centre
        changed = {
            "optimizers": [replace(centre, optimizer=name) for name in self.optimizers],
            "methods": [replace(centre, optimizer=name) for name in self.methods],
            "retractions": [replace(centre, retraction=name) for name in self.retractions],
            "metrics": [
                replace(centre, metric=name, **({"geometry": "grassmann"} if name == EMBEDDED else {}))
                for name in self.metrics
            ],
            "geometries": [replace(centre, geometry=name) for name in self.geometries],
        }
        return {
            factor: (centre, *(setting for setting in settings if setting != centre))
            for factor, settings in changed.items()
            if settings
        }

    @cached_property
    def curves(self) -> tuple[tuple[Setting, AnyProblem], ...]:
        """All pairs of a setting and a problem that it is run on, each once."""
        settings = dict.fromkeys(setting for group in self.groups.values() for setting in group) or {self.centre: None}
        return tuple(pair for problem in self.problems for pair in self._curves_on(problem, settings))

    def fits(self, setting: Setting, problem: AnyProblem) -> bool:
        """Return whether a setting is run on a problem."""
        if setting.is_deterministic and not isinstance(problem, Problem):
            return False
        return setting == self.centre or problem.distinguishes(setting.manifold_geometry)

    def run(self, setting: Setting, problem: AnyProblem, learning_rate: float | None, seed: int) -> OptimizationRun:
        """Return a run of a curve."""
        known = isinstance(problem, Problem)
        steps, looks = (self.steps, self.looks) if known else (self.training_steps, self.training_looks)
        return OptimizationRun(problem, setting, learning_rate, seed, steps, min(looks, steps))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a TOML file has them."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        cached = ("groups", "curves")
        plain = {name: value for name, value in values.items() if name not in cached}
        return plain | {
            "problems": [problem.to_dict() for problem in self.problems],
            "centre": asdict(self.centre),
        }

    def _curves_on(self, problem: AnyProblem, settings: dict[Setting, None]) -> Iterator[tuple[Setting, AnyProblem]]:
        return ((setting, problem) for setting in settings if self.fits(setting, problem))


OPTIMIZER_STUDIES: Final[dict[str, OptimizerStudy]] = {
    "optimizers": OptimizerStudy(
        name="optimizers",
        title="Optimizers, retractions, metrics and geometries on problems with known answers",
        optimizers=(
            "riemannian-sgd",
            "cayley-adam",
            "cayley-sgd",
            "landing",
            "pogo",
            "random-submanifold",
            "momentum-stiefel-adam",
            "momentum-stiefel-sgd",
            "manifold-muon",
            "spel",
            "retracted-adamw",
            "geoopt-adam",
            "geoopt-sgd",
        ),
        methods=tuple(METHODS),
        retractions=("polar", "cayley", "exponential"),
        metrics=("canonical", "embedded"),
        geometries=("grassmann", "householder", "householder-reduced"),
    ),
}
