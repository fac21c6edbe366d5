"""Rules for the share β of the last direction in the next one of a conjugate gradient method.

The next direction is −g₊ + βd₊, where g₊ is the new gradient and d₊ the last direction d carried to the new point; y
is g₊ less the carried last gradient (Sato 2022, SIAM J. Optim. 32).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import final

from ...manifolds import require_flag, require_number


@final
@dataclass(frozen=True)
class Products:
    """The inner products that rules are made of.

    Attributes:
        new_new: ‖g₊‖².
        new_change: ⟨g₊, y⟩.
        new_direction: ⟨g₊, d₊⟩.
        change_change: ‖y‖².
        change_direction: ⟨y, d₊⟩.
        old_old: ‖g‖² at the last point.
        direction_norm: ‖d‖ at the last point.
    """

    new_new: float
    new_change: float
    new_direction: float
    change_change: float
    change_direction: float
    old_old: float
    direction_norm: float


class ConjugacyRule(abc.ABC):
    """A rule for β, as an object without state."""

    @abc.abstractmethod
    def share(self, products: Products) -> float:
        """Return β; a value that is not finite makes the method begin anew."""


@final
@dataclass(frozen=True)
class HestenesStiefel(ConjugacyRule):
    """max(0, ⟨g₊, y⟩ / ⟨y, d₊⟩)."""

    def share(self, products: Products) -> float:
        """Return β."""
        return max(0.0, _ratio(products.new_change, products.change_direction))


@final
@dataclass(frozen=True)
class PolakRibiere(ConjugacyRule):
    """⟨g₊, y⟩ / ‖g‖², by default not below zero (PR+: Gilbert, Nocedal 1992)."""

    nonnegative: bool = True

    def __post_init__(self) -> None:
        require_flag("nonnegative", self.nonnegative)

    def share(self, products: Products) -> float:
        """Return β."""
        share = _ratio(products.new_change, products.old_old)
        return max(0.0, share) if self.nonnegative else share


@final
@dataclass(frozen=True)
class FletcherReeves(ConjugacyRule):
    """‖g₊‖² / ‖g‖²."""

    def share(self, products: Products) -> float:
        """Return β."""
        return _ratio(products.new_new, products.old_old)


@final
@dataclass(frozen=True)
class HagerZhang(ConjugacyRule):
    """(⟨g₊, y⟩ − 2‖y‖²⟨g₊, d₊⟩/⟨y, d₊⟩) / ⟨y, d₊⟩, not below −1/(‖d‖ min(η, ‖g‖)) (Hager, Zhang 2005, Sec. 1)."""

    eta: float = 0.01

    def __post_init__(self) -> None:
        require_number("eta", self.eta, above=0.0)  # the source has 0.01

    def share(self, products: Products) -> float:
        """Return β."""
        bend = products.change_direction
        share = _ratio(products.new_change - 2 * products.change_change * _ratio(products.new_direction, bend), bend)
        return max(share, -_ratio(1.0, products.direction_norm * min(self.eta, products.old_old**0.5)))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("inf")
