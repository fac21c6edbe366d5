"""A study: the curves that are compared, and what all of their runs share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, final

from .arguments import require_distinct, require_folder_name, require_integer, require_known, require_positive
from .curve import Curve, Method
from .parameterizations import SPECTRA
from .run import Run
from .settings import Settings
from .tasks import TASKS


@final
@dataclass(frozen=True)
class Study:
    """A comparison of methods at several ranks, over seeds.

    Every method but those with plain weights makes one curve a rank. Its learning rate is the best of a grid on the
    validation split with the first seed; where the best lies at the grid's edge, the grid is extended. Then it runs
    with all seeds.

    Attributes:
        name: a short word, also of the folder of results.
        title: a line for the top of the report.
        methods: what is compared.
        ranks: bounds on the ranks.
        svdp_ranks: those of SVDP where they are others; the same by default.
        task, network, spectrum, optimizer, steps, batch_size, evaluations: as for a :class:`Run`.
        learning_rates: the grid, ascending.
        extensions: how many learning rates a curve may add at the grid's edges.
        seeds: of first weights and batches; the first one selects.
        settings: what most studies leave as it is; a TOML file has its values beside the others.

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
    svdp_ranks: tuple[int, ...] | None = None
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        require_folder_name("name", self.name)
        if not isinstance(self.title, str):
            raise TypeError(f"title must be a string, got {self.title!r}")
        for name in ("methods", "ranks", "learning_rates", "seeds"):
            require_distinct(name, getattr(self, name))
        for method in self.methods:
            if not isinstance(method, Method):
                raise TypeError(f"methods must be Method objects, got {method!r}; Method.parse reads their text form")
        if self.svdp_ranks is not None:
            require_distinct("svdp_ranks", self.svdp_ranks)
        for name in ("ranks", "svdp_ranks"):
            for rank in getattr(self, name) or ():
                require_integer(name, rank, minimum=1)
        for rate in self.learning_rates:
            require_positive("learning_rates", rate)
        if list(self.learning_rates) != sorted(self.learning_rates):
            raise ValueError(f"learning_rates must ascend, got {list(self.learning_rates)}; sort them")
        # Equal studies are to have equal runs whether a rate was written 1 or 1.0.
        object.__setattr__(self, "learning_rates", tuple(float(rate) for rate in self.learning_rates))
        require_integer("extensions", self.extensions)
        for seed in self.seeds:
            require_integer("seeds", seed)
        require_known("spectrum", self.spectrum, SPECTRA)  # also where every method has its own
        for curve in self.curves:  # what a run refuses is refused before the first of them starts
            self.run(curve, self.learning_rates[0], self.seeds[0])

    @property
    def curves(self) -> tuple[Curve, ...]:
        """All curves, method by method, each by rank."""
        return tuple(curve for method in self.methods for curve in self._curves(method))

    def _curves(self, method: Method) -> list[Curve]:
        if method.is_plain:
            return [Curve(method)]
        ranks = self.svdp_ranks if method.parameterization == "svdp" and self.svdp_ranks else self.ranks
        return [Curve(method, rank, method.spectrum or self.spectrum) for rank in ranks]

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
            settings=self.settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a TOML file has them; settings at their defaults are left out."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        del values["settings"]
        if self.svdp_ranks is None:
            del values["svdp_ranks"]
        # A task's own defaults would fill what is left out.
        filled = {name: value for name, value in asdict(self.settings).items() if name in TASKS[self.task].defaults}
        return values | {"methods": [str(method) for method in self.methods]} | filled | self.settings.changed
