"""A run: everything that decides the outcome of one training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final, final

from .arguments import choose, require_integer, require_known, require_positive
from .curve import Curve, Method
from .networks import NETWORKS
from .optimizers import OPTIMIZERS
from .settings import Settings
from .tasks import TASKS

# Raised when the meaning of a field or the training itself changes: results of another format are other runs.
FORMAT: Final = 2


@final
@dataclass(frozen=True)
class Run:
    """One training, from its first weights to its test score. Equal runs have equal outcomes.

    Attributes:
        task: name of the task.
        network: name of the network.
        parameterization: `svdp` or `sttp`; or of plain weights, `dense`, `sn` (spectral normalization) or `sr`
            (spectral regularization).
        geometry: name of the geometry; None for plain weights.
        spectrum: name of the spectrum; None for plain weights.
        rank: bound on the ranks; None for plain weights.
        optimizer: name of the optimizer.
        learning_rate: at the first step; it falls linearly to 0.
        seed: of the first weights and of the batches.
        steps: number of optimizer steps.
        batch_size: number of examples a step.
        evaluations: how often the validation split is read on the way, at equal distances, and once before.
        settings: what most runs leave as it is.

    Raises:
        ValueError: a name is unknown, or a number out of range.
        TypeError: a value is not of its kind.
    """

    task: str
    network: str
    parameterization: str
    geometry: str | None
    spectrum: str | None
    rank: int | None
    optimizer: str
    learning_rate: float
    seed: int
    steps: int
    batch_size: int
    evaluations: int
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        task = choose("task", self.task, TASKS)
        require_known("network", self.network, NETWORKS)
        require_known("optimizer", self.optimizer, OPTIMIZERS)
        require_positive("learning_rate", self.learning_rate)
        require_integer("seed", self.seed)
        for name in ("steps", "batch_size", "evaluations"):
            require_integer(name, getattr(self, name), minimum=1)
        if not isinstance(self.settings, Settings):
            raise TypeError(f"settings must be a Settings object, got {self.settings!r}")
        if self.batch_size % self.settings.accumulation:
            raise ValueError(
                f"accumulation must divide batch_size, got {self.settings.accumulation} for {self.batch_size}"
            )
        _ = self.curve  # checks method, rank and spectrum
        task.require_settings(self)
        task.require(self)

    @cached_property
    def curve(self) -> Curve:
        """The method at its rank with its spectrum, which is the curve's also where a study has it with the method."""
        return Curve(Method(self.parameterization, self.geometry), self.rank, self.spectrum)

    @cached_property
    def identifier(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the run's content; the name of its folder."""
        values = self.to_dict() | self.settings.changed
        for name in asdict(self.settings).keys() - self.settings.changed.keys():
            del values[name]
        content = json.dumps({"format": FORMAT, **values}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The run in words."""
        spectrum = "" if self.spectrum in (None, "free") else f", {self.spectrum}"
        return f"{self.curve}{spectrum}, learning rate {self.learning_rate:g}, seed {self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """Return all values side by side, the settings among them."""
        values = asdict(self)
        settings = values.pop("settings")
        return values | settings
