"""A study: the curves that are compared, and what all of their runs share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, final

from .curve import Curve, Method
from .run import Run
from .validation import choose, require_distinct, require_integer, require_positive, require_text


@final
@dataclass(frozen=True)
class Study:
    """A comparison of methods at several ranks, over seeds.

    Every method but `dense` makes one curve a rank. Its learning rate is the best of a grid on the validation split
    with the first seed; where the best lies at the grid's edge, the grid is extended. Then it runs with all seeds.

    Attributes:
        name: a short word, also of the folder of results.
        title: a line for the top of the report.
        methods: what is compared.
        ranks: bounds on the ranks.
        task, network, spectrum, optimizer, steps, batch_size, evaluations: as for a :class:`Run`.
        learning_rates: the grid, ascending.
        extensions: how many learning rates a curve may add at the grid's edges.
        seeds: of first weights and batches; the first one selects.

    Raises:
        ValueError: a name is unknown, a number out of range, or a list empty or with an entry twice.
        TypeError: a value is not of its kind.
    """

    name: str
    methods: tuple[Method, ...]
    ranks: tuple[int, ...] = (2, 4, 8)
    title: str = ""
    task: str = "digits"
    network: str = "digits"
    spectrum: str = "free"
    optimizer: str = "riemannian-adam"
    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.09)
    extensions: int = 2
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int = 350
    batch_size: int = 32
    evaluations: int = 7

    def __post_init__(self) -> None:
        require_text("name", self.name)
        if not isinstance(self.title, str):
            raise TypeError(f"title must be a string, got {self.title!r}")
        for name in ("methods", "ranks", "learning_rates", "seeds"):
            require_distinct(name, getattr(self, name))
        for method in self.methods:
            if not isinstance(method, Method):
                raise TypeError(f"methods must be Method objects, got {method!r}; Method.parse reads their text form")
        for rank in self.ranks:
            require_integer("ranks", rank, minimum=1)
        for rate in self.learning_rates:
            require_positive("learning_rates", rate)
        if list(self.learning_rates) != sorted(self.learning_rates):
            raise ValueError(f"learning_rates must ascend, got {list(self.learning_rates)}; sort them")
        # Equal studies are to have equal runs whether a rate was written 1 or 1.0.
        object.__setattr__(self, "learning_rates", tuple(float(rate) for rate in self.learning_rates))
        require_integer("extensions", self.extensions)
        for seed in self.seeds:
            require_integer("seeds", seed)
        for curve in self.curves:  # what a run refuses is refused before the first of them starts
            self.run(curve, self.learning_rates[0], self.seeds[0])

    @property
    def curves(self) -> tuple[Curve, ...]:
        """All curves, method by method, each by rank."""
        return tuple(
            curve
            for method in self.methods
            for curve in (
                [Curve(method)] if method.is_dense else [Curve(method, rank, self.spectrum) for rank in self.ranks]
            )
        )

    def run(self, curve: Curve, learning_rate: float, seed: int) -> Run:
        """Return a run of a curve."""
        return Run(
            task=self.task,
            network=self.network,
            parameterization=curve.method.parameterization,
            geometry=curve.method.geometry,
            spectrum=curve.spectrum,
            rank=curve.rank,
            optimizer=self.optimizer,
            learning_rate=learning_rate,
            seed=seed,
            steps=self.steps,
            batch_size=self.batch_size,
            evaluations=self.evaluations,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a TOML file has them."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return values | {"methods": [str(method) for method in self.methods]}


STUDIES: Final[dict[str, Study]] = {
    "digits": Study(
        name="digits",
        title="Spectral tensor train layers on handwritten digits",
        methods=(
            Method("dense"),
            Method("svdp", "stiefel"),
            Method("svdp", "householder"),
            Method("sttp", "stiefel"),
            Method("sttp", "grassmann"),
            Method("sttp", "householder"),
            Method("sttp", "householder-reduced"),
        ),
    ),
}


def named_study(name: str) -> Study:
    """Return a built-in study.

    Raises:
        ValueError: there is none of this name.
    """
    return choose("study", name, STUDIES)
