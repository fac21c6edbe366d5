"""What a user asks of fine-tuning: how frozen weights are to be changed."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import geoopt
import torch
from torch import Tensor, nn

from ..layers import WeightShape
from ..optim import Retracted
from ._change import Change


@final
@dataclass(frozen=True, eq=False)
class FrozenWeight:
    """A weight that is to be adapted.

    Attributes:
        names: of the layers that share it.
        shape: how torch's weight becomes a matrix.
        matrix: W0 of shape ``(rows, columns)``, without gradient, float32 or float64.
    """

    names: tuple[str, ...]
    shape: WeightShape
    matrix: Tensor

    @property
    def rows(self) -> int:
        """Number of outputs."""
        return self.matrix.shape[0]

    @property
    def columns(self) -> int:
        """Number of inputs."""
        return self.matrix.shape[1]


class Adapter(abc.ABC):
    """A specification, and so a frozen dataclass of plain values: which :class:`Change` each frozen weight gets."""

    @property
    def defect(self) -> str | None:
        """Why W(θ_0) is not W0, as some methods were published; None where it is, which :func:`adapt` checks."""
        return None

    @abc.abstractmethod
    def changes(self, weights: Sequence[FrozenWeight], generator: torch.Generator | None) -> list[Change]:
        """Return a change for each weight, in their order; changes of several weights may share parameters.

        Raises:
            ValueError: a weight does not fit; the message says what would.
        """

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return the optimizer that the method was published with; see :func:`published_optimizer`.

        Unless a subclass says otherwise it is AdamW without weight decay, on frames with a retraction.
        """
        return adamw(network, lr)


def adamw(network: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """Return AdamW for what a network trains, made Riemannian where there are manifold parameters."""
    parameters = trained_parameters(network)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    on_manifolds = any(isinstance(parameter, geoopt.ManifoldTensor) for parameter in parameters)
    return Retracted(optimizer) if on_manifolds else optimizer


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require gradients."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


class WeightAdapter(Adapter):
    """An adapter that changes each weight on its own."""

    @abc.abstractmethod
    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""

    def changes(self, weights: Sequence[FrozenWeight], generator: torch.Generator | None) -> list[Change]:
        """Return the change of each weight; what is refused is told with the layer's name."""
        made = []
        for weight in weights:
            try:
                made.append(self.change(weight, generator))
            except (TypeError, ValueError) as error:
                raise type(error)(f"layer {weight.names[0]!r}: {error}") from None
        return made
