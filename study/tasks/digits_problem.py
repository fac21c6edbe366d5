"""Training on handwritten digits as a problem among those whose answer is known."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import nn

from ...layers import STTP, shared_evaluation
from ...manifolds import Geometry
from ..arguments import require_integer
from ..networks import NETWORKS
from ..tasks import DIGITS
from ..tasks.construction import first_weights
from ..tasks.digits import digits_splits


@final
@dataclass(frozen=True)
class DigitsTraining:
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
    summary: ClassVar[str] = (
        "train a network on handwritten digits; the gap is its cross-entropy on the training set / log 10"
    )
    rank: int = 4
    batch_size: int = 32

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, minimum=1)
        require_integer("batch_size", self.batch_size, minimum=1)
        DIGITS.batches(0, self.batch_size)  # checks the batch size

    @property
    def name(self) -> str:
        """The problem in a few words."""
        return f"{self.kind} rank {self.rank}"

    @property
    def label(self) -> str:
        """The problem in two words, where space is short."""
        return self.kind

    def network(self, geometry: Geometry, seed: int) -> nn.Module:
        """Return the network at its first weights, which are the same in all geometries."""
        entry = NETWORKS["digits"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = entry.build()
        return first_weights(network, STTP(self.rank, frames=geometry), entry.skip, seed)

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise: all are."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a TOML file has them."""
        return {"kind": self.kind, **asdict(self)}


@torch.no_grad()
def training_gap(network: nn.Module) -> float:
    """Return the cross-entropy on the training set, divided by log 10."""
    images, labels = digits_splits()["training"]
    training = network.training
    network.eval()
    with shared_evaluation(network):
        loss = F.cross_entropy(network(images), labels)
    network.train(training)
    return float(loss) / math.log(10)
