"""A line search for the strong Wolfe conditions along the curves of a retraction."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy import optimize  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from ...manifolds import require_instance, require_integer, require_number
from ._problem import Evaluation, Problem

# Multiples of the rounding unit of the cost below which a difference of two costs is not trusted: its leading digits
# must be right for the test of sufficient decrease.
_UNTRUSTED: Final = 1e4
# The quadratic model of the second trial is not believed beyond this factor of the first.
_TRUSTED_FACTOR: Final = 10.0


@final
@dataclass(frozen=True)
class Trial:
    """A point on the curve t ↦ R(td).

    Attributes:
        length: t.
        evaluation: the cost there.
    """

    length: float
    evaluation: Evaluation


@final
@dataclass(frozen=True)
class WolfeSearch:
    """Search for a length t with φ(t) ≤ φ(0) + c₁tφ'(0) and |φ'(t)| ≤ c₂|φ'(0)|, where φ(t) = f(R(td)).

    The proposed length is tried first and the minimizer of a quadratic model of φ second, which together are enough
    near a minimum; then ``scipy.optimize.line_search`` takes over (Nocedal, Wright 2006, Alg. 3.5, 3.6). Where
    φ(t) − φ(0) is rounding, ½t(φ'(0) + φ'(t)) stands for it: the first condition then asks for φ'(t) ≤ (2c₁ − 1)φ'(0),
    which is the approximate Wolfe condition of Hager and Zhang (2005, Sec. 4), and a gradient can fall to its own
    rounding.

    Attributes:
        sufficient_decrease: c₁.
        curvature: c₂.
        max_doublings: how often scipy may double the length.

    Raises:
        ValueError: the constants are not in the order 0 < c₁ < c₂ < 1, or no doubling is allowed.
    """

    sufficient_decrease: float = 1e-4
    curvature: float = 0.9
    max_doublings: int = 20

    def __post_init__(self) -> None:
        for name in ("sufficient_decrease", "curvature"):
            require_number(name, getattr(self, name), above=0.0, below=1.0)
        require_integer("max_doublings", self.max_doublings, least=1)
        if not 0 < self.sufficient_decrease < self.curvature < 1:
            raise ValueError(
                f"sufficient_decrease and curvature must have 0 < sufficient_decrease < curvature < 1, "
                f"got {self.sufficient_decrease} and {self.curvature}"
            )

    def search(
        self, problem: Problem, start: Evaluation, direction: Tensor, slope: float, first: float
    ) -> Trial | None:
        """Return a point that satisfies both conditions, or else one that satisfies the first; None if none does.

        Args:
            problem: the problem.
            start: where the curve begins.
            direction: a tangent vector d there.
            slope: φ'(0) = ⟨grad f, d⟩, negative.
            first: the length to try first, positive.
        """
        curve = _Curve(problem, start, direction, slope)
        if self._is_wolfe(curve, first):
            return curve.trial(first)
        second = self._second_length(curve, first)
        if self._is_wolfe(curve, second):
            return curve.trial(second)
        found = self._scipy_length(curve, second)
        if found is not None:
            return curve.trial(found)
        candidates = [length for length in curve.lengths if self._decreases(curve, length)]
        return curve.trial(min(candidates, key=curve.difference)) if candidates else None

    def _is_wolfe(self, curve: _Curve, length: float) -> bool:
        return self._decreases(curve, length) and abs(curve.slope(length)) <= self.curvature * -curve.initial_slope

    def _decreases(self, curve: _Curve, length: float) -> bool:
        return curve.difference(length) <= self.sufficient_decrease * length * curve.initial_slope

    def _second_length(self, curve: _Curve, first: float) -> float:
        """Return the minimizer of the parabola through φ(0), φ'(0) and, at the first length, φ' or φ."""
        slope, rise = curve.initial_slope, curve.difference(first)
        if not math.isfinite(rise):
            return first / _TRUSTED_FACTOR
        if self._decreases(curve, first):
            bend = (curve.slope(first) - slope) / first
        else:
            bend = 2 * (rise - slope * first) / first**2
        length = -slope / bend if bend > 0 else math.inf
        return min(max(length, first / _TRUSTED_FACTOR), first * _TRUSTED_FACTOR)

    def _scipy_length(self, curve: _Curve, unit: float) -> float | None:
        """Return a length by scipy's search, which starts at one unit."""
        with warnings.catch_warnings():
            # A search that finds nothing returns None, which says the same; the cost's own warnings are let through.
            warnings.filterwarnings("ignore", "The line search algorithm|Rounding errors prevent", RuntimeWarning)
            length, *_ = optimize.line_search(
                lambda t: curve.difference(unit * float(t[0])),
                lambda t: np.array([unit * curve.slope(unit * float(t[0]))]),
                np.zeros(1),
                np.ones(1),
                gfk=np.array([unit * curve.initial_slope]),
                old_fval=0.0,
                c1=self.sufficient_decrease,
                c2=self.curvature,
                maxiter=self.max_doublings,
            )
        # Where scipy runs out of doublings it returns the last length, whatever the slope there.
        if length is None or not self._decreases(curve, unit * float(length)):
            return None
        return unit * float(length)


def require_search(search: object) -> None:
    """Refuse what is no line search.

    Raises:
        TypeError: it is none.
    """
    require_instance("search", search, WolfeSearch, "an object such as WolfeSearch(curvature=0.5)")


@final
class _Curve:
    """φ and φ' along a retraction's curve; each length is evaluated once."""

    def __init__(self, problem: Problem, start: Evaluation, direction: Tensor, initial_slope: float) -> None:
        self._problem = problem
        self._start = start
        self._direction = direction
        self.initial_slope = initial_slope
        self._trials: dict[float, Evaluation] = {}
        self._slopes: dict[float, float] = {}
        self._differences: dict[float, float] = {}

    @property
    def lengths(self) -> list[float]:
        """The lengths tried."""
        return list(self._trials)

    def trial(self, length: float) -> Trial:
        """Return the trial at a length."""
        return Trial(length, self._evaluate(length))

    def slope(self, length: float) -> float:
        """Return φ'(t)."""
        if length not in self._slopes:
            if length == 0:
                return self.initial_slope
            trial, space = self._evaluate(length), self._problem.space
            gradient = trial.euclidean_gradient
            self._slopes[length] = space.velocity_product(
                self._start.point, self._direction, length, trial.point, gradient
            )
        return self._slopes[length]

    def difference(self, length: float) -> float:
        """Return φ(t) − φ(0), infinite where it is not a number."""
        if length not in self._differences:
            difference = self._evaluate(length).cost - self._start.cost
            if abs(difference) <= _UNTRUSTED * self._problem.epsilon * self._problem.magnitude:
                difference = length * (self.initial_slope + self.slope(length)) / 2
            self._differences[length] = difference if math.isfinite(difference) else math.inf
        return self._differences[length]

    def _evaluate(self, length: float) -> Evaluation:
        if length not in self._trials:
            end = self._problem.space.retract(self._start.point, length * self._direction)
            self._trials[length] = self._problem.evaluate(end)
        return self._trials[length]
