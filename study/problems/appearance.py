"""How choices look in plots: colours safe for colour-blind readers, and a dash pattern for each family."""

from __future__ import annotations

from typing import Final

from ..register import Appearance, Line
from .entry import Choice

# After Okabe and Ito (2008), darkened where they are faint on white; the centre is always the first.
_COLOURS: Final = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00")
_DASHES: Final[tuple[Line, ...]] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_MARKERS: Final = "osD^vPX*<>pdhH8"


def look_of(choice: Choice) -> Appearance:
    """Return a choice's own look, or one by its place in its factor; the first 21 differ."""
    if choice.look is not None:
        return choice.look
    if choice.index == 0:
        return Appearance(_COLOURS[0], _MARKERS[0], "-")
    others = _COLOURS[1:]
    turn, place = divmod(choice.index - 1, len(others))
    return Appearance(others[place], _MARKERS[choice.index % len(_MARKERS)], _DASHES[turn % len(_DASHES)])
