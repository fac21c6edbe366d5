"""A cost whose least value is known."""

from __future__ import annotations

import abc
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...manifolds import Geometry, Riemannian
from ..arguments import require_integer
from .variable import Variable


@dataclass(frozen=True)
class Problem(abc.ABC):
    """Minimize a cost over frames or over weights of a train; what the least cost is does not come from this package.

    ::

        variable = Procrustes(n=20, p=4).start(Riemannian(), seed=0)
        loss = problem.cost(variable)       # a scalar with a gradient in variable.parameters
        problem.gap(variable)               # how far above the optimum, relative to the problem's scale

    Equal problems have equal data. Everything is computed in float64 and cast to the variable's precision.

    Attributes:
        kind: the name by which studies know problems of this class.
        summary: the cost in a line.
        seed: of the data.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    seed: int

    def __post_init__(self) -> None:
        require_integer("seed", self.seed)

    @abc.abstractmethod
    def start(self, geometry: Geometry, seed: int, dtype: torch.dtype = torch.float64) -> Variable:
        """Return a random point in a geometry; equal seeds are equal points whatever the geometry.

        Raises:
            ValueError: the geometry does not fit the problem.
        """

    @abc.abstractmethod
    def cost_of(self, value: Tensor) -> Tensor:
        """Return the cost of matrices ``(..., rows, columns)``, of shape ``(...)``."""

    @property
    @abc.abstractmethod
    def optimum(self) -> float:
        """The least cost, by scipy in float64."""

    @property
    @abc.abstractmethod
    def scale(self) -> float:
        """What gaps are divided by."""

    @cached_property
    def name(self) -> str:
        """The problem in a few words, different for all problems."""
        values = ((key, value) for key, value in asdict(self).items() if key != "seed" or value)
        return f"{self.kind} " + ", ".join(f"{key} {_short(value)}" for key, value in values)

    @property
    def label(self) -> str:
        """The problem in two words, where space is short."""
        return self.kind

    def cost(self, variable: Variable) -> Tensor:
        """Return the cost, a scalar with a gradient."""
        return self.cost_of(variable.value())

    @torch.no_grad()
    def gap(self, variable: Variable) -> float:
        """Return (cost − optimum) / scale, computed in float64; at the optimum it is rounding, of either sign."""
        return (float(self.cost_of(variable.value().double())) - self.optimum) / self.scale

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a TOML file has them."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"kind": self.kind, **values}


def refuse_embedded(geometry: Geometry, kind: str) -> None:
    """Refuse the metric of whole weights where there is one frame.

    Raises:
        ValueError: as said.
    """
    if isinstance(geometry, Riemannian) and geometry.embedded is not None:
        raise ValueError(f"metric='embedded' is one of weights, and {kind} has one frame; give metric='euclidean'")


def require_condition(condition: float, least: float = 1.0) -> None:
    """Refuse a condition number that cannot be had.

    Raises:
        TypeError: it is no number.
        ValueError: it is less than ``least``, or not finite.
    """
    if isinstance(condition, bool) or not isinstance(condition, int | float):
        raise TypeError(f"condition must be a number of at least {least:g}, got {condition!r}")
    if not least <= condition < float("inf"):
        raise ValueError(f"condition must be at least {least:g} here and finite, got {condition}; give a larger one")


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
