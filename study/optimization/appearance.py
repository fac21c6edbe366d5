"""How choices look in plots: colours safe for colour-blind readers, and a dash pattern for each family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

Dashes = Literal["-"] | tuple[float, tuple[float, float]]

# After Okabe and Ito (2008), darkened where they are faint on white; the centre is always the first.
_COLOURS: Final = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00")
_DASHES: Final[tuple[Dashes, ...]] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_MARKERS: Final = "osD^vPX*<>pdhH8"


@final
@dataclass(frozen=True)
class Look:
    """Colour, dash pattern and marker in matplotlib's terms."""

    color: str
    line: Dashes
    marker: str


def look(index: int) -> Look:
    """Return how the choice of this place in its factor looks; the first 21 differ."""
    if index == 0:
        return Look(_COLOURS[0], "-", _MARKERS[0])
    others = _COLOURS[1:]
    turn, place = divmod(index - 1, len(others))
    return Look(others[place], _DASHES[turn % len(_DASHES)], _MARKERS[index % len(_MARKERS)])
