"""What networks are trained on."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, final

from torch import Tensor, nn

from ..case import Run, Trial
from ..networks import NETWORKS, Role, network_entry
from ..register import Register, object_of
from ..surroundings import Surroundings

if TYPE_CHECKING:
    from .case import TrainingCase

Split = Literal["validation", "test"]
# Settings that are options of a network: the option by the setting.
NETWORK_SETTINGS: Final = {"depth": "depth", "widen_factor": "widen_factor", "width": "base_width"}


@final
@dataclass(frozen=True)
class Evaluation:
    """What a network reaches on a split: the score, of which more is better, the mean loss, and other measures."""

    score: float
    loss: float
    others: dict[str, float] = field(default_factory=dict)

    def measures(self, split: Split) -> dict[str, float | None]:
        """Return the numbers by the names that results have for them, such as ``validation_score``."""
        others = {name.replace(" ", "_"): value for name, value in self.others.items()}
        return {f"{split}_{name}": value for name, value in {"score": self.score, "loss": self.loss, **others}.items()}


@final
@dataclass(frozen=True)
class ImageShape:
    """What the networks of a data set see: channels and size of its square images, and how many classes there are."""

    channels: int
    size: int
    classes: int


class Task(abc.ABC):
    """Data with a fixed split, a loss and a score. One object of each is registered in ``TASKS``.

    Attributes:
        score_name: what the score is, such as "accuracy".
        score_scale: what a score is multiplied with where people read it.
        score_unit: the unit that it then has, such as "%".
        loss_name: what the loss on a split is.
        other_measures: what else tables show of a test: titles by name, `loss` or one of an evaluation's others.
        description: a sentence or two for the report: data, split, loss.
        question: for the report, what a study of this task asks.
        settings: names of the settings that mean something here; those of a network are its own options.
        defaults: keys of a study that have another default with this task.
        roles: what its networks are trained to be, with None for those of users; None for whatever there is.
        warms_up: whether the first look at a network is cheap enough to be made twice, so that it is timed fairly.
    """

    score_name: str
    score_scale: float = 100.0
    score_unit: str = "%"
    loss_name: str = "loss"
    other_measures: Mapping[str, str] = {}
    description: str
    question: str
    settings: tuple[str, ...]
    defaults: Mapping[str, Any] = {}
    roles: tuple[Role | None, ...] | None = None
    warms_up: bool = False

    @property
    def score_digits(self) -> int:
        """How many digits after the point a score has where people read it."""
        return 1 if self.score_scale > 1 else 3

    def require_settings(self, case: TrainingCase) -> None:
        """Refuse settings that neither the task nor the case's network has, instead of leaving them aside.

        Raises:
            ValueError: one of them is not at its default.
        """
        entry = network_entry(case.network)
        known = [*self.settings, *(name for name, option in NETWORK_SETTINGS.items() if entry.takes(option))]
        for name, value in case.settings.changed.items():
            if name not in known:
                owner = f"network {case.network!r}" if name in NETWORK_SETTINGS else f"task {case.task!r}"
                raise ValueError(
                    f"{name} is no setting of the {owner}, got {value!r}; leave it out (there are {', '.join(known)})"
                )

    def require(self, case: TrainingCase) -> None:
        """Refuse a case that cannot be run, as far as that is known without the data: by default other networks.

        Raises:
            ValueError: the network does not fit, or a number is out of range.
        """
        if self.roles is not None and network_entry(case.network).role not in self.roles:
            wanted = " or ".join(f"a {role}" for role in self.roles if role is not None)
            choices = ", ".join(name for name in NETWORKS if network_entry(name).role in self.roles)
            raise ValueError(
                f"network of the task {case.task!r} must be {wanted}, got {case.network!r}; choose from {choices}"
            )

    def require_data(self, case: TrainingCase, surroundings: Surroundings) -> str | None:
        """Refuse a case whose data is not there or does not fit; return a checksum of the data.

        None is the checksum of data that is bundled and so always the same.

        Raises:
            ValueError: the data is missing, damaged or too little.
        """
        return None

    @abc.abstractmethod
    def image_shape(self, case: TrainingCase, surroundings: Surroundings) -> ImageShape | None:
        """Return what the case's network sees; reads the data only where its shape is not known by its name.

        None where the inputs are no square images: networks are then told nothing of them.

        Raises:
            ValueError: the data is not there or damaged.
        """

    @abc.abstractmethod
    def begin(self, case: TrainingCase, run: Run, surroundings: Surroundings) -> Trial:
        """Return the training of a run of a case at its start; mostly a :class:`~sttp.study.tasks.trial.NetworkTrial`.

        Raises:
            ValueError: the data is not there or damaged, or does not fit.
        """


class SupervisedTask(Task):
    """A task of one network, whose loss on a batch is a function of the batch alone."""

    @abc.abstractmethod
    def bound(self, case: TrainingCase, surroundings: Surroundings) -> Self:
        """Return the task with its data at hand, where the case's network will be.

        Raises:
            ValueError: the data is not there or damaged.
        """

    @abc.abstractmethod
    def batches(self, seed: int, batch_size: int, start: int = 0) -> Iterator[Any]:
        """Return training batches without end from a position on, which depend on the arguments alone.

        A batch is a named tuple of tensors whose first dimension is the batch.

        Raises:
            ValueError: the batch is larger than the training set.
        """

    @abc.abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the mean training loss on a batch, a scalar with a gradient."""

    def try_scores(self, network: nn.Module, batch: Any) -> None:
        """Refuse what an evaluation could not make of a network's outputs, before the first run.

        Raises:
            ValueError: as said.
        """

    @abc.abstractmethod
    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return score and loss on a split, with the network in evaluation mode and back in its own afterwards."""

    def begin(self, case: TrainingCase, run: Run, surroundings: Surroundings) -> Trial:
        """Begin the training of a network."""
        from .supervised import SupervisedTrial  # which needs this module

        return SupervisedTrial(self.bound(case, surroundings), case, run, surroundings)


TASKS: Final[Register[Task]] = Register(
    "task", object_of(Task, "an object of a subclass of Task, such as Training(...)")
)
