"""What a study of optimizers minimizes: problems, and what makes them of plain values."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from ...manifolds import Geometry, require_integer
from .._plain import Plain, require_known, short
from ..register import Register
from .instance import CostInstance, Instance, Variable


class Problem(abc.ABC):
    """A cost over frames, weights or points of any manifold. Subclasses are frozen dataclasses of plain values::

        @PROBLEMS.add("rayleigh")
        @dataclass(frozen=True)
        class Rayleigh(Problem):
            kind = "rayleigh"
            summary = "minimize xᵀAx over unit vectors x; the optimum is the least eigenvalue of A"
            n: int = 20

            def begin(self, geometry, seed):
                matrix = torch.diag(torch.arange(1.0, self.n + 1).double())
                point = PointVariable(geoopt.Sphere(), (self.n,))
                return CostInstance(point, lambda x: x @ matrix @ x, optimum=1.0)

    Attributes:
        kind: what problems of this class are called.
        summary: the cost in a line.
        is_known: whether the least cost is known, and so the gap one to it.
        is_deterministic: whether the loss is the same whenever the parameters are, as ``minimize`` wants it.
        has_geometry: whether retraction, metric and geometry make a difference: not for points of other manifolds.
    """

    kind: ClassVar[str]
    summary: str = "minimize a cost of one's own"
    is_known: bool = True
    is_deterministic: bool = True
    has_geometry: bool = True

    @abc.abstractmethod
    def begin(self, geometry: Geometry, seed: int) -> Instance:
        """Return the problem at a start; equal seeds are equal points whatever the geometry.

        torch's global generator is at the seed, too.

        Raises:
            ValueError: the geometry does not fit the problem.
        """

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise."""
        return True

    @property
    def name(self) -> str:
        """The problem in a few words, different for all problems."""
        values = ((key, value) for key, value in _fields_of(self).items() if key != "seed" or value)
        return f"{self.kind} {', '.join(f'{key} {short(value)}' for key, value in values)}".strip()

    @property
    def label(self) -> str:
        """The problem in two words, where space is short."""
        return self.kind

    def to_dict(self) -> dict[str, Plain]:
        """Return plain values, as a TOML file has them; the kind is the name that ``PROBLEMS`` has for the class."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in _fields_of(self).items()}
        return {"kind": PROBLEMS.name_for(type(self)), **values}


@dataclass(frozen=True)
class KnownProblem(Problem):
    """A cost over frames or over weights of a train; what the least cost is does not come from this package.

    ::

        problem = Procrustes(n=20, p=4)
        variable = problem.start(Riemannian(), seed=0)
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
        return CostInstance(self.start(geometry, seed), self.cost_of, self.optimum, self.scale)


def _require_problem(thing: object) -> None:
    if not callable(thing) and not isinstance(thing, Problem):
        raise TypeError(f"it must be a Problem, a subclass of it or a function that returns one, got {thing!r}")


# Problems; classes of problems, and functions that return one, called with a definition's values by keyword.
PROBLEMS: Final[Register[Any]] = Register("problem", _require_problem)


def values_of(given: object) -> dict[str, Plain]:
    """Return a problem's plain values: its kind, and what differs from the defaults.

    Args:
        given: a name of ``PROBLEMS`` or ``package.module:object``; a table such as ``{kind = "procrustes", n = 40}``;
            or a problem, which is registered if it is not.
    """
    if isinstance(given, Problem):
        return given.to_dict()
    if isinstance(given, str):
        return {"kind": given}
    if not isinstance(given, Mapping):
        raise TypeError(f"problems must be tables such as {{kind = 'procrustes', n = 40, p = 6}}, got {given!r}")
    return dict(given)


def all_values_of(given: Mapping[str, Any]) -> dict[str, Plain]:
    """Return plain values with those that are at their defaults, so that equal problems have equal ones."""
    problem, thing = problem_of(given), PROBLEMS[given["kind"]]
    return {**(problem.to_dict() if isinstance(thing, type) else given), "kind": given["kind"]}


def problem_of(values: Mapping[str, Any]) -> Problem:
    """Build a problem from plain values, as a TOML file has them: its kind and what differs from its defaults.

    Raises:
        TypeError: a value is not of its kind.
        ValueError: the kind or a key is unknown, or a value out of range.
    """
    content: dict[str, Any] = dict(values)
    name = content.pop("kind", None)
    thing = PROBLEMS.entry(name, "kind of problem").thing
    is_made = isinstance(thing, Problem)
    if is_made or (isinstance(thing, type) and issubclass(thing, Problem)):
        known = [] if is_made else [field.name for field in fields(thing)]
        for key in content:
            require_known(f"key of the problem {name!r}", key, known)
    if is_made:
        return thing
    made = thing(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
    if not isinstance(made, Problem):
        raise TypeError(f"problem {name!r} must make an object of a subclass of Problem, got {made!r}")
    return made


def _fields_of(problem: Problem) -> dict[str, Any]:
    return asdict(problem) if is_dataclass(problem) else {}
