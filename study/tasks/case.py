"""What is compared where networks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, final

from ...layers import Specification
from .._plain import Plain, tupled
from ..case import Case, Run, Trial
from ..parts import PENALTIES, SPECIFICATIONS, SPECTRA, Options, geometry_with, options_of
from ..settings import SETTINGS, Settings
from ..surroundings import Surroundings
from .task import TASKS

if TYPE_CHECKING:
    from ..definition import Study

# What a study says nothing of.
USUAL: Final[dict[str, Any]] = {
    "task": "digits",
    "network": "digits",
    "optimizer": "riemannian-adam",
    "steps": 350,
    "batch_size": 32,
    "evaluations": 7,
}


@final
@dataclass(frozen=True)
class TrainingCase(Case):
    """A method at a rank on a network and a task, with an optimizer and a budget. Plain values alone.

    Attributes:
        task: name of the task.
        network: name of the network.
        parameterization: `svdp` or `sttp`; of plain weights `dense`, `sn` (spectral normalization) or `sr` (spectral
            regularization); or the name of a user's specification of layers, or method.
        geometry: name of the geometry; None for what has none.
        spectrum: name of the spectrum; None for plain weights.
        rank: bound on the ranks; None for plain weights.
        optimizer: name of the optimizer.
        retraction, metric: names; None for those of the geometry.
        steps: number of optimizer steps.
        batch_size: number of examples a step.
        evaluations: how often the validation split is read on the way, at equal distances, and once before.
        settings: what most runs leave as it is.
        options: of the parts, such as ``("network.dropout", 0.1)``.
    """

    kind: ClassVar[str] = "training"
    task: str
    network: str
    parameterization: str
    geometry: str | None
    spectrum: str | None
    rank: int | None
    optimizer: str
    retraction: str | None = None
    metric: str | None = None
    steps: int = USUAL["steps"]
    batch_size: int = USUAL["batch_size"]
    evaluations: int = USUAL["evaluations"]
    settings: Settings = field(default_factory=Settings)
    options: Options = ()

    @property
    def title(self) -> str:
        """The case in words, such as ``sttp stiefel, rank 4``."""
        words = " ".join(word for word in (self.parameterization, self.geometry) if word is not None)
        rank = "" if self.rank is None else f", rank {self.rank}"
        spectrum = "" if self.spectrum in (None, "free") else f", {self.spectrum}"
        return f"{words}{rank}{spectrum}" + "".join(f", {name} {value}" for name, value in self._others().items())

    @property
    def method(self) -> str:
        """All but the rank in words: what one line of a plot shows, and what a study's presentation knows it by."""
        words = [word for word in (self.parameterization, self.geometry, self.spectrum) if word is not None]
        usual = {name: getattr(self, name) for name in USUAL if getattr(self, name) != USUAL[name]}
        others = usual | self._others() | self.settings.changed
        return ", ".join([" ".join(words), *(f"{name} {value}" for name, value in others.items())])

    @property
    def specification(self) -> Specification | None:
        """The specification of the layers; None for a method that is none of layers."""
        if self.geometry is None or self.rank is None or self.spectrum is None:
            return None
        geometry = geometry_with(self.geometry, self.metric, self.retraction, self.options)
        kind = SPECIFICATIONS[self.parameterization]
        return kind(self.rank, frames=geometry, spectrum=SPECTRA[self.spectrum])

    @property
    def penalty(self) -> float:
        """The weight of the D-optimal penalty in the loss, of layers with the spectrum `regularized`; 0 for others."""
        return 0.0 if self.geometry is None else PENALTIES.get(self.spectrum or "", 0.0)

    def options_of(self, part: str) -> dict[str, Any]:
        """Return the options of a part, such as ``network``, by their names."""
        return options_of(self.options, part)

    def to_dict(self) -> dict[str, Plain]:
        """Return all values that are not as they usually are, the settings among them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        settings, options = values.pop("settings"), values.pop("options")
        values = {k: v for k, v in values.items() if v is not None or k not in ("retraction", "metric")}
        return values | settings.changed | ({"options": dict(options)} if options else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; nothing that it names need be known."""
        content = dict(values)
        settings = Settings(**{name: content.pop(name) for name in SETTINGS if name in content})
        options = tuple((name, tupled(value)) for name, value in content.pop("options", {}).items())
        return cls(settings=settings, options=options, **content)

    def begin(self, run: Run, surroundings: Surroundings) -> Trial:
        """Return the training of a run at its start."""
        return TASKS[self.task].begin(self, run, surroundings)

    def warm_up(self, run: Run, surroundings: Surroundings) -> None:
        """Look at a network once where that is cheap: the first of its kind would be timed with torch's own set-up."""
        if TASKS[self.task].warms_up:
            self.begin(run, surroundings).look(0)

    def _others(self) -> dict[str, Plain]:
        """Return what few cases have."""
        found = {"retraction": self.retraction, "metric": self.metric, **dict(self.options)}
        return {name: value for name, value in found.items() if value is not None}


def trainings(study: Study) -> tuple[TrainingCase, ...]:
    """Return the cases of a study of this kind."""
    return tuple(case for case in study.cases if isinstance(case, TrainingCase))
