"""Designs: which combinations of the factors' values a study compares."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import final

from ._plain import Plain
from .register import Register

Factors = Mapping[str, tuple[Plain, ...]]
Assignment = dict[str, Plain]


class Design(abc.ABC):
    """A choice of combinations, as a frozen dataclass."""

    @abc.abstractmethod
    def assignments(self, factors: Factors, centre: Mapping[str, Plain]) -> Iterator[Assignment]:
        """Yield a value for each factor, combination by combination; equal ones may come twice.

        Args:
            factors: their values, none of them empty.
            centre: the value of each factor around which one at a time is changed; what it lacks is the first.
        """

    @abc.abstractmethod
    def groups(self, factors: Factors, centre: Mapping[str, Plain]) -> dict[str, tuple[Assignment, ...]]:
        """Return which combinations differ in one factor alone, by the factor; a full grid has no such groups."""


@final
@dataclass(frozen=True)
class Grid(Design):
    """Every value of every factor with every value of all others; the last factor changes fastest."""

    def assignments(self, factors: Factors, centre: Mapping[str, Plain]) -> Iterator[Assignment]:
        """Yield the full grid."""
        for values in product(*factors.values()):
            yield dict(zip(factors, values, strict=True))

    def groups(self, factors: Factors, centre: Mapping[str, Plain]) -> dict[str, tuple[Assignment, ...]]:
        """Return none."""
        return {}


@final
@dataclass(frozen=True)
class OneAtATime(Design):
    """A centre, and around it one factor at a time.

    Attributes:
        crossed: factors whose values are all combined with each of these, such as the problem that is solved.
    """

    crossed: tuple[str, ...] = ()

    def assignments(self, factors: Factors, centre: Mapping[str, Plain]) -> Iterator[Assignment]:
        """Yield for each combination of the crossed factors the centre first, then factor by factor."""
        groups = self.groups(factors, centre)
        settings = [assignment for group in groups.values() for assignment in group] or [{}]
        crossed = {name: factors[name] for name in self.crossed if name in factors}
        for values in product(*crossed.values()):
            seen: list[Assignment] = []
            for setting in settings:
                if setting not in seen:
                    seen.append(setting)
                    yield dict(zip(crossed, values, strict=True)) | setting

    def groups(self, factors: Factors, centre: Mapping[str, Plain]) -> dict[str, tuple[Assignment, ...]]:
        """Return for each factor that is not crossed the centre, and its other values in the centre's place."""
        free = {name: values for name, values in factors.items() if name not in self.crossed}
        start = {name: centre.get(name, values[0]) for name, values in free.items()}
        return {
            name: (start, *(start | {name: value} for value in values if value != start[name]))
            for name, values in free.items()
        }


DESIGNS: Register[Design] = Register("design")
DESIGNS.add("grid", Grid())
DESIGNS.add("one-at-a-time", OneAtATime())


def require_factors(factors: object) -> dict[str, tuple[Plain, ...]]:
    """Return factors as tuples."""
    if not isinstance(factors, Mapping):
        raise TypeError(f"factors must be a table such as {{rank = [2, 4]}}, got {factors!r}")
    found: dict[str, tuple[Plain, ...]] = {}
    for name, values in factors.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TypeError(f"factor {name!r} must be a list of values, got {values!r}")
        if not values:
            raise ValueError(f"factor {name!r} must have at least one value, got an empty list")
        found[str(name)] = tuple(values)
    return found
