"""How readers see a study's score and its other measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

from ...report.intervals import Interval


@final
@dataclass(frozen=True)
class Score:
    """The score of a test, of which more is better.

    Attributes:
        name: such as "accuracy".
        scale: what it is multiplied with where people read it.
        unit: the unit that it then has, such as "%"; empty for none.
        digits: how many digits after the point it then has.
        others: what tables show beside it, titles by name: `loss`, or another measure on the test split.
    """

    name: str = "score"
    scale: float = 1.0
    unit: str = ""
    digits: int = 3
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, presentation: Mapping[str, Any]) -> Self:
        """Read what a study is presented with."""
        own = {name: presentation[f"score_{name}"] for name in ("name", "scale", "unit", "digits")}
        return cls(**own, others=dict(presentation["other_measures"]))

    @property
    def column(self) -> str:
        """Its name as that of a column."""
        return column(self.name)

    @property
    def title(self) -> str:
        """Its name with its unit, for the axis of a plot."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def text(self, interval: Interval) -> str:
        """Return a mean with its interval as people read it, without the unit."""
        return interval.text(self.scale, self.digits)

    def scaled(self, interval: Interval) -> str:
        """Return a mean with its interval as people read it, such as ``97.5 ± 0.4 %``."""
        return f"{self.text(interval)} {self.unit}".rstrip()

    def difference(self, interval: Interval) -> str:
        """Return a difference with its sign, in points of a percentage or in the score's unit."""
        sign = "+" if (interval.mean or 0) >= 0 else ""
        unit = "points" if self.unit == "%" else self.unit
        return f"{sign}{self.text(interval)} {unit}".rstrip().replace("-", "−")


def column(name: str) -> str:
    """Return a name as that of a column: words are joined by underscores."""
    return "_".join(name.split())
