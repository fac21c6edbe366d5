"""Training on handwritten digits as a problem among those whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import STTP, decompress, reparameterize, shared_evaluation, spectral_weights
from ...manifolds import Geometry, require_integer
from ..data.digits import TRAINING_SIZE, Examples, digits_batches, digits_splits
from ..networks.digits import digits
from ..random_streams import seeded
from .instance import Instance
from .problem import Problem


@final
@dataclass(frozen=True)
class DigitsTraining(Problem):
    """Minimize the cross-entropy of a small network with spectral tensor train layers over batches of digits.

    What the least value is nobody knows, but it is not below 0: the gap is the cross-entropy on the whole training set,
    divided by log 10, that of a guess.

    Attributes:
        rank: bound on the ranks of all layers.
        batch_size: number of digits a step.

    Raises:
        TypeError: a number is no integer.
        ValueError: a number is below 1, or the batch larger than the training set.
    """

    kind: ClassVar[str] = "digits"
    summary = "train a network on handwritten digits; the gap is its cross-entropy on the training set / log 10"
    is_known = False
    is_deterministic = False
    rank: int = 4
    batch_size: int = 32

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        require_integer("batch_size", self.batch_size, least=1)
        if self.batch_size > TRAINING_SIZE:
            raise ValueError(
                f"batch_size must be at most {TRAINING_SIZE}, the training set's size, got {self.batch_size}"
            )

    @property
    def name(self) -> str:
        """The problem in a few words."""
        usual = type(self).batch_size
        return f"{self.kind} rank {self.rank}" + (f", batch {self.batch_size}" if self.batch_size != usual else "")

    def begin(self, geometry: Geometry, seed: int) -> Instance:
        """Return the network at its first weights."""
        return _Training(self.network(geometry, seed), digits_batches(seed, self.batch_size))

    def network(self, geometry: Geometry, seed: int) -> nn.Module:
        """Return the network at its first weights, which are the same in all geometries: a fresh `sttp stiefel`'s."""
        with seeded(seed):
            network: nn.Module = digits()
        reference, specification = STTP(self.rank), STTP(self.rank, frames=geometry)
        reparameterize(network, reference, generator=torch.Generator().manual_seed(seed))
        if specification == reference:
            return network
        return reparameterize(decompress(network), specification, init="weights")


@final
class _Training(Instance):
    def __init__(self, network: nn.Module, batches: Iterator[Examples]) -> None:
        self._network, self._batches = network, batches
        self.parameters = tuple(network.parameters())

    def loss(self) -> Tensor:
        """Return the cross-entropy of the next batch."""
        images, labels = next(self._batches)
        return F.cross_entropy(self._network(images), labels)

    @torch.no_grad()
    def gap(self) -> float:
        """Return the cross-entropy on the training set, divided by log 10."""
        images, labels = digits_splits()["training"]
        training = self._network.training
        self._network.eval()
        with shared_evaluation(self._network):
            loss = F.cross_entropy(self._network(images), labels)
        self._network.train(training)
        return float(loss) / math.log(10)

    def orthogonality_error(self) -> float:
        """Return the largest ‖XᵀX − I‖_F of any frame."""
        return max(float(weight.orthogonality_error()) for weight in spectral_weights(self._network).values())
