"""What a study trains networks on."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from torch import Tensor, nn

Split = Literal["validation", "test"]


@final
@dataclass(frozen=True)
class Evaluation:
    """What a network reaches on a split: the score, a fraction of which more is better, and the mean loss."""

    score: float
    loss: float


class Task(abc.ABC):
    """Data with a fixed split, a loss and a score.

    Attributes:
        networks: names of the networks that fit it.
        score_name: what the score is, such as "accuracy".
        description: a sentence or two for the report: data, split, loss.
    """

    networks: ClassVar[tuple[str, ...]]
    score_name: ClassVar[str]
    description: ClassVar[str]

    @abc.abstractmethod
    def batches(self, seed: int, batch_size: int) -> Iterator[Any]:
        """Return training batches without end, which depend on the arguments alone.

        Raises:
            ValueError: the batch is larger than the training set.
        """

    @abc.abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the training loss on a batch, a scalar with a gradient."""

    @abc.abstractmethod
    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        """Return score and loss on a split, with the network in evaluation mode and back in its own afterwards."""
