"""Steepest descent on a product of manifolds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

from ._line_search import WolfeSearch, require_search
from ._method import Iterate, Method
from ._problem import Evaluation, Problem


@final
@dataclass(frozen=True)
class SteepestDescent(Method):
    """X ← R_X(−t grad f), with t from a strong Wolfe search (Absil, Mahony, Sepulchre 2008, Alg. 1).

    Converges linearly, at the rate of the condition number: a baseline for the other methods. An iteration takes one
    or two evaluations of cost and gradient.

    Attributes:
        search: the line search.
    """

    search: WolfeSearch = field(default_factory=lambda: WolfeSearch(curvature=0.5))

    def __post_init__(self) -> None:
        require_search(self.search)

    def iterates(self, problem: Problem, start: Evaluation) -> Iterator[Iterate]:
        """Yield the iterates; see the base class."""
        here, length = start, 1 / start.gradient_norm
        while True:
            slope = -(here.gradient_norm**2)
            trial = self.search.search(problem, here, -here.gradient, slope, length)
            if trial is None:
                return
            step = trial.length * here.gradient_norm
            here, length = trial.evaluation, trial.length
            yield Iterate(here, step)
