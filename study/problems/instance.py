"""A problem from a start: what an optimizer is given, and what is watched."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from .variable import Variable


class Instance(abc.ABC):
    """A problem from a start, in a geometry.

    Attributes:
        parameters: what an optimizer moves, ``geoopt.ManifoldParameter`` on manifolds and plain parameters.
    """

    parameters: tuple[nn.Parameter, ...]

    @abc.abstractmethod
    def loss(self) -> Tensor:
        """Return the loss of the next step, a scalar with a gradient."""

    @abc.abstractmethod
    def gap(self) -> float:
        """Return how far above the optimum the parameters are, relative to the problem's scale."""

    @abc.abstractmethod
    def orthogonality_error(self) -> float:
        """Return how far the parameters are off their manifold: the largest ‖XᵀX − I‖_F of any frame."""


@final
class CostInstance(Instance):
    """A cost of a variable.

    Args:
        variable: where it starts.
        cost: of the variable's value, a scalar.
        optimum: its least value; None where that is not known, and the cost itself takes the gap's place.
        scale: what gaps are divided by.
    """

    def __init__(
        self, variable: Variable, cost: Callable[[Tensor], Tensor], optimum: float | None = None, scale: float = 1.0
    ) -> None:
        self._variable, self._cost, self._optimum, self._scale = variable, cost, optimum, scale
        self.parameters = variable.parameters

    def loss(self) -> Tensor:
        """Return the cost."""
        return self._cost(self._variable.value())

    @torch.no_grad()
    def gap(self) -> float:
        """Return |cost − optimum| / scale: points that are not quite on their manifold may lie below the optimum.

        Raises:
            ValueError: the optimum is not known, and the cost negative.
        """
        cost = float(self._cost(self._variable.value().double()))
        if self._optimum is None and cost < 0:
            raise ValueError(f"optimum must be given for a cost that is negative, got {cost:g}; a lower bound will do")
        return abs(cost - (self._optimum or 0.0)) / self._scale

    def orthogonality_error(self) -> float:
        """Return how far the variable is off its manifold."""
        return self._variable.orthogonality_error()
