"""Exponential moving averages of networks."""

from __future__ import annotations

import copy
from typing import final

import geoopt
import torch
from torch import Tensor, nn


@final
class MovingAverage:
    """The average of a network's parameters over its steps; running statistics and other buffers are the last ones.

    Points on a manifold are averaged as matrices, and the average is projected when it is asked for: it is then the
    chordal mean, the point nearest to the mean.

    Args:
        network: the network, as it is at the start.
        decay: how much of the last average each update keeps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._values = [parameter.detach().clone() for parameter in network.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's present parameters in."""
        present = [parameter.detach() for parameter in self._network.parameters()]
        torch._foreach_lerp_(self._values, present, 1 - self._decay)

    @torch.no_grad()
    def network(self) -> nn.Module:
        """Return a copy of the network with the averages in it."""
        averaged = copy.deepcopy(self._network)
        for parameter, value in zip(averaged.parameters(), self._values, strict=True):
            manifold = parameter.manifold if isinstance(parameter, geoopt.ManifoldParameter) else None
            parameter.copy_(value if manifold is None else manifold.projx(value))
        return averaged

    def state(self) -> list[Tensor]:
        """Return the averages."""
        return [value.clone() for value in self._values]

    def restore(self, state: list[Tensor]) -> None:
        """Go on from the averages that :meth:`state` returned."""
        for value, saved in zip(self._values, state, strict=True):
            value.copy_(saved)
