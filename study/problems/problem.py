"""What a study of optimizers minimizes."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor, nn

from ...manifolds import Geometry, Riemannian, require_integer, require_number
from .._plain import Plain, require_known
from ..register import Register, callable_thing
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
        """Return the largest ‖XᵀX − I‖_F of any frame; 0 where there is none."""


@dataclass(frozen=True)
class Problem(abc.ABC):
    """A cost over frames, weights or points of any manifold, as a frozen dataclass of plain values.

    Attributes:
        kind: the name by which studies know problems of this class.
        summary: the cost in a line.
        is_known: whether the least cost is known, and so the gap one to it.
        is_deterministic: whether the loss is the same whenever the parameters are, as ``minimize`` wants it.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    is_known: ClassVar[bool] = True
    is_deterministic: ClassVar[bool] = True

    @abc.abstractmethod
    def begin(self, geometry: Geometry, seed: int) -> Instance:
        """Return the problem at a start; equal seeds are equal points whatever the geometry.

        Raises:
            ValueError: the geometry does not fit the problem.
        """

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise."""
        return True

    @cached_property
    def name(self) -> str:
        """The problem in a few words, different for all problems."""
        values = ((key, value) for key, value in asdict(self).items() if key != "seed" or value)
        return f"{self.kind} " + ", ".join(f"{key} {_short(value)}" for key, value in values)

    @property
    def label(self) -> str:
        """The problem in two words, where space is short."""
        return self.kind

    def to_dict(self) -> dict[str, Plain]:
        """Return plain values, as a TOML file has them."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"kind": self.kind, **values}


@dataclass(frozen=True)
class KnownProblem(Problem):
    """A cost over frames or over weights of a train; what the least cost is does not come from this package.

    ::

        variable = Procrustes(n=20, p=4).start(Riemannian(), seed=0)
        loss = problem.cost(variable)       # a scalar with a gradient in variable.parameters
        problem.gap(variable)               # how far above the optimum, relative to the problem's scale

    Equal problems have equal data. Everything is computed in float64 and cast to the variable's precision.

    Attributes:
        seed: of the data.
    """

    seed: int

    def __post_init__(self) -> None:
        require_integer("seed", self.seed, least=0)

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

    def cost(self, variable: Variable) -> Tensor:
        """Return the cost, a scalar with a gradient."""
        return self.cost_of(variable.value())

    @torch.no_grad()
    def gap(self, variable: Variable) -> float:
        """Return (cost − optimum) / scale, computed in float64; at the optimum it is rounding, of either sign."""
        return (float(self.cost_of(variable.value().double())) - self.optimum) / self.scale

    def begin(self, geometry: Geometry, seed: int) -> Instance:
        """Return the problem at a random point."""
        return _KnownInstance(self, self.start(geometry, seed))


@final
class _KnownInstance(Instance):
    def __init__(self, problem: KnownProblem, variable: Variable) -> None:
        self._problem, self._variable = problem, variable
        self.parameters = variable.parameters

    def loss(self) -> Tensor:
        """Return the cost."""
        return self._problem.cost(self._variable)

    def gap(self) -> float:
        """Return |cost − optimum| / scale: frames that are not quite orthonormal may lie below the optimum."""
        return abs(self._problem.gap(self._variable))

    def orthogonality_error(self) -> float:
        """Return the largest ‖XᵀX − I‖_F of any frame."""
        return self._variable.orthogonality_error()


# Called with the values that differ from its defaults, by keyword; returns a problem.
PROBLEMS: Final[Register[Any]] = Register("problem", callable_thing)


def problem_of(values: object) -> Problem:
    """Build a problem from plain values, as a TOML file has them: its kind and what differs from its defaults.

    Raises:
        TypeError: the values are no table, or one is not of its kind.
        ValueError: the kind or a key is unknown, or a value out of range.
    """
    if isinstance(values, Problem):
        return values
    if not isinstance(values, Mapping):
        raise TypeError(f"problems must be tables such as {{kind = 'procrustes', n = 40, p = 6}}, got {values!r}")
    content: dict[str, Any] = dict(values)
    name = content.pop("kind", None)
    make = PROBLEMS.entry(name, "kind of problem").thing
    if isinstance(make, type) and issubclass(make, Problem):
        for key in content:
            require_known(f"key of the problem {name!r}", key, [field.name for field in fields(make)])
    made = make(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    if not isinstance(made, Problem):
        raise TypeError(f"problem {name!r} must make an object of a subclass of Problem, got {made!r}")
    return made


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
    require_number("condition", condition, least=least)


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
