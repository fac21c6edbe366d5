"""A run: everything that decides the outcome of one training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final, final

from .curve import Curve, Method
from .networks import NETWORKS
from .optimizers import OPTIMIZERS
from .tasks import TASKS
from .validation import choose, require_integer, require_known, require_positive

# Raised when the meaning of a field or the training itself changes: results of another format are other runs.
FORMAT: Final = 1


@final
@dataclass(frozen=True)
class Run:
    """One training, from its first weights to its test score. Equal runs have equal outcomes.

    Attributes:
        task: name of the task.
        network: name of the network.
        parameterization: `dense`, `svdp` or `sttp`.
        geometry: name of the geometry; None for `dense`.
        spectrum: name of the spectrum; None for `dense`.
        rank: bound on the ranks; None for `dense`.
        optimizer: name of the optimizer.
        learning_rate: at the first step; it falls linearly to 0.
        seed: of the first weights and of the batches.
        steps: number of optimizer steps.
        batch_size: number of examples a step.
        evaluations: how often the validation split is read on the way, at equal distances, and once before.

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

    def __post_init__(self) -> None:
        task = choose("task", self.task, TASKS)
        require_known("network", self.network, NETWORKS)
        require_known(f"network of the task {self.task!r}", self.network, task.networks)
        require_known("optimizer", self.optimizer, OPTIMIZERS)
        require_positive("learning_rate", self.learning_rate)
        require_integer("seed", self.seed)
        for name in ("steps", "batch_size", "evaluations"):
            require_integer(name, getattr(self, name), minimum=1)
        task.batches(self.seed, self.batch_size)  # checks the batch size
        _ = self.curve  # checks the rest

    @cached_property
    def curve(self) -> Curve:
        """The curve of a study that the run belongs to."""
        return Curve(Method(self.parameterization, self.geometry), self.rank, self.spectrum)

    @cached_property
    def identifier(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the run's content; the name of its folder."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The run in words."""
        return f"{self.curve}, learning rate {self.learning_rate:g}, seed {self.seed}"
