"""How learning rates are found. A strategy is a pure function of the results that there are."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from ..manifolds import require_integer, require_number
from ._plain import require_distinct
from .register import Register

# What runs are ordered by; the largest is the best.
Order = tuple[float, ...]
RATES: Final = (0.01, 0.03, 0.09)


@final
@dataclass(frozen=True)
class Progress:
    """Where the search for one case stands.

    Attributes:
        rates: those tried and those to be tried next, ascending.
        missing: rates that must be run before the search can go on.
        chosen: the best rate; None while rates are missing.
        expected: number of runs of the whole search, as far as it is known.
    """

    rates: tuple[float, ...]
    missing: tuple[float, ...]
    chosen: float | None
    expected: int

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest of several."""
        return len(self.rates) > 1 and self.chosen in (self.rates[0], self.rates[-1])


class Strategy(abc.ABC):
    """A search for a learning rate, as a frozen dataclass whose fields are keys of a study's definition."""

    @abc.abstractmethod
    def follow(self, tried: Mapping[float, Order]) -> Progress:
        """Follow the search as far as the results go.

        Args:
            tried: what the run of each rate that is finished is ordered by.
        """


@final
@dataclass(frozen=True)
class GridSearch(Strategy):
    """The best of a grid, which is extended by its own ratio where the best lies at its edge.

    Attributes:
        learning_rates: the grid, ascending.
        extensions: how many rates may be added.

    Raises:
        TypeError, ValueError: a value is not of its kind, or out of range.
    """

    learning_rates: tuple[float, ...] = RATES
    extensions: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rates", require_rates(self.learning_rates))
        require_integer("extensions", self.extensions, least=0)

    def follow(self, tried: Mapping[float, Order]) -> Progress:
        """Follow the search; each extension goes on at the edge where the best rate lies."""
        rates = list(self.learning_rates)
        for extension in range(self.extensions + 1):
            missing = tuple(rate for rate in rates if rate not in tried)
            if missing:
                return Progress(tuple(rates), missing, None, len(rates))
            best = max(rates, key=lambda rate: tried[rate])
            if len(rates) == 1 or best not in (rates[0], rates[-1]):
                break
            edge, inner = rates[:2] if best == rates[0] else rates[:-3:-1]
            new = another(edge * edge / inner, rates)
            if extension == self.extensions or new is None:
                break
            rates = sorted([*rates, new])
        return Progress(tuple(rates), (), best, len(rates))


@final
@dataclass(frozen=True)
class Bisection(Strategy):
    """A coarse grid, then the middle of the wider gap beside the best, or the rate beyond where that is at an end.

    Every case has the same number of runs, unless the rates come so near to each other that there is none between.

    Attributes:
        learning_rates: the coarse grid, two at least, ascending by one ratio.
        trials: number of runs, the grid's included.

    Raises:
        TypeError, ValueError: a value is not of its kind, or out of range.
    """

    learning_rates: tuple[float, ...] = (0.003, 0.03, 0.3)
    trials: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rates", require_rates(self.learning_rates))
        if len(self.learning_rates) < 2:
            raise ValueError(f"learning_rates must be two at least, got {list(self.learning_rates)}; add another")
        require_integer("trials", self.trials, least=len(self.learning_rates))

    def follow(self, tried: Mapping[float, Order]) -> Progress:
        """Follow the search."""
        rates = list(self.learning_rates)
        ratio = rates[1] / rates[0]
        while True:
            missing = tuple(rate for rate in rates if rate not in tried)
            if missing:
                return Progress(tuple(rates), missing, None, self.trials)
            best = max(rates, key=lambda rate: tried[rate])
            new = None if len(rates) >= self.trials else self._next(rates, rates.index(best), ratio)
            if new is None:
                return Progress(tuple(rates), (), best, len(rates))
            rates = sorted([*rates, new])

    @staticmethod
    def _next(rates: list[float], best: int, ratio: float) -> float | None:
        if best == 0:
            return another(rates[0] / ratio, rates)
        if best == len(rates) - 1:
            return another(rates[-1] * ratio, rates)
        below, above = rates[best] / rates[best - 1], rates[best + 1] / rates[best]
        # Rounded rates make equal gaps differ in the last digits.
        other = rates[best + 1] if above > 0.99 * below else rates[best - 1]
        return another(math.sqrt(rates[best] * other), rates)


STRATEGIES: Register[type[Strategy]] = Register("search")
STRATEGIES.add("grid", GridSearch)
STRATEGIES.add("bisection", Bisection)


def require_rates(rates: object) -> tuple[float, ...]:
    """Return learning rates as floats, so that equal studies have equal runs whether a rate was written 1 or 1.0."""
    require_distinct("learning_rates", rates)
    assert isinstance(rates, tuple)
    for rate in rates:
        require_number("learning_rates", rate, above=0)
    if list(rates) != sorted(rates):
        raise ValueError(f"learning_rates must ascend, got {list(rates)}; sort them")
    return tuple(float(rate) for rate in rates)


def another(rate: float, rates: list[float]) -> float | None:
    """Return a rate to be tried beside others, rounded; None where floats have no other one there."""
    found = rounded(rate)
    return found if 0 < found < math.inf and found not in rates else None


def rounded(rate: float) -> float:
    """Return a rate without the last digits, which would be rounding."""
    return float(f"{rate:.6g}")
