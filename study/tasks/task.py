"""What a study trains networks on."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, final

from torch import Tensor, nn

from ..networks import NETWORKS
from ..surroundings import Surroundings

if TYPE_CHECKING:
    from ..report.intervals import Interval
    from ..run import Run

Split = Literal["validation", "test"]
# Settings that are options of a network by the same name.
NETWORK_SETTINGS: Final = ("depth", "widen_factor")


@final
@dataclass(frozen=True)
class Evaluation:
    """What a network reaches on a split: the score, of which more is better, the mean loss, and other measures."""

    score: float
    loss: float
    others: dict[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class ImageShape:
    """What the networks of a data set see: channels and size of its square images, and how many classes there are."""

    channels: int
    size: int
    classes: int


class Training(abc.ABC):
    """A training under way. :meth:`state` and the number of steps made are all that its future depends on.

    Attributes:
        network: the network that the run is about.
    """

    network: nn.Module

    @abc.abstractmethod
    def step(self, step: int) -> Tensor:
        """Make the step of this number, counted from 0; return its training loss, a scalar without gradient."""

    @abc.abstractmethod
    def evaluate(self, split: Split) -> Evaluation:
        """Return score and loss on a split, with the network in evaluation mode and back in its own afterwards."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Return tensors and plain values from which :meth:`restore` goes on."""

    @abc.abstractmethod
    def restore(self, state: dict[str, Any], step: int) -> None:
        """Go on from a state after a number of steps, to the last bit on a CPU."""

    @abc.abstractmethod
    def samples(self) -> Tensor | None:
        """Return images ``(n, C, H, W)`` in [0, 1] that show where the training is; None where it makes none."""

    @abc.abstractmethod
    def scalars(self) -> dict[str, Tensor]:
        """Return losses of the last step by name, for logs."""


class Task(abc.ABC):
    """Data with a fixed split, a loss and a score.

    Attributes:
        score_name: what the score is, such as "accuracy".
        score_scale: what a score is multiplied with where people read it.
        score_unit: the unit that it then has, such as "%".
        loss_name: what the loss on a split is.
        other_measures: what else tables show of a test: titles by name, `loss` or one of an evaluation's others.
        description: a sentence or two for the report: data, split, loss.
        question: for the report, what a study of this task asks.
        settings: names of the settings that mean something here; those of a network are its own options.
        defaults: fields of a study, or of its settings, that have another default with this task.
        warms_up: whether the first look at a network is cheap enough to be made twice, so that it is timed fairly.
    """

    score_name: ClassVar[str]
    score_scale: ClassVar[float] = 100.0
    score_unit: ClassVar[str] = "%"
    loss_name: ClassVar[str] = "loss"
    other_measures: ClassVar[Mapping[str, str]] = {}
    description: ClassVar[str]
    question: ClassVar[str]
    settings: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = {}
    warms_up: ClassVar[bool] = False

    def scaled(self, interval: Interval) -> str:
        """Return a mean score with its interval as people read it, such as ``97.5 ± 0.4 %``."""
        return f"{interval.text(self.score_scale, self.score_digits)} {self.score_unit}".rstrip()

    @property
    def score_digits(self) -> int:
        """How many digits after the point a score has where people read it."""
        return 1 if self.score_scale > 1 else 3

    @property
    def titled_score(self) -> str:
        """The score with its unit, for the axis of a plot."""
        return f"{self.score_name}, {self.score_unit}" if self.score_unit else self.score_name

    def require_settings(self, run: Run) -> None:
        """Refuse settings that neither the task nor the run's network has, instead of leaving them aside.

        Raises:
            ValueError: one of them is not at its default.
        """
        options = NETWORKS[run.network].options
        known = [*self.settings, *(name for name in NETWORK_SETTINGS if name in options)]
        for name, value in run.settings.changed.items():
            if name not in known:
                owner = f"network {run.network!r}" if name in NETWORK_SETTINGS else f"task {run.task!r}"
                raise ValueError(
                    f"{name} is no setting of the {owner}, got {value!r}; leave it out (there are {', '.join(known)})"
                )

    @abc.abstractmethod
    def require(self, run: Run) -> None:
        """Refuse a run that cannot be made, as far as that is known without the data.

        Raises:
            ValueError: the network does not fit, or a number is out of range.
        """

    @abc.abstractmethod
    def image_shape(self, run: Run, surroundings: Surroundings) -> ImageShape:
        """Return what the run's network sees; reads the data only where its shape is not known by its name.

        Raises:
            ValueError: the data is not there or damaged.
        """

    @abc.abstractmethod
    def training(self, run: Run, network: nn.Module, surroundings: Surroundings) -> Training:
        """Begin the training of a network.

        Raises:
            ValueError: the data is not there or damaged, or does not fit.
        """


class SupervisedTask(Task):
    """A task of one network, whose loss on a batch is a function of the batch alone."""

    @abc.abstractmethod
    def bound(self, run: Run, surroundings: Surroundings) -> Self:
        """Return the task with its data at hand, where the run's network will be.

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

    @abc.abstractmethod
    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return score and loss on a split, with the network in evaluation mode and back in its own afterwards."""

    def training(self, run: Run, network: nn.Module, surroundings: Surroundings) -> Training:
        """Begin the training of a network."""
        from .supervised import SupervisedTraining  # which needs this module

        return SupervisedTraining(self.bound(run, surroundings), run, network, surroundings)
