"""How methods look in plots: a colour, a marker and a dash pattern each, safe for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ..register import COLOURS, LINES, MARKERS, Appearance, default_look

# Colours after Okabe and Ito (2008), darkened where they are faint on white.
_LOOKS: Final[dict[tuple[str, str], Appearance]] = {
    ("svdp", "stiefel"): Appearance("#E69F00", "s", "-"),
    ("svdp", "grassmann"): Appearance("#8C6D00", "p", "-"),
    ("svdp", "householder"): Appearance("#A0522D", "^", "--"),
    ("svdp", "householder-reduced"): Appearance("#D55E00", "<", "--"),
    ("sttp", "stiefel"): Appearance("#0072B2", "o", "-"),
    ("sttp", "grassmann"): Appearance("#56B4E9", "v", "-"),
    ("sttp", "householder"): Appearance("#009E73", "P", "--"),
    ("sttp", "householder-reduced"): Appearance("#CC79A7", "X", "--"),
}

# Of methods that have a spectrum of their own: the marker, and how much of the colour is left beside white.
_SPECTRA: Final[dict[str, tuple[str, float]]] = {
    "identity": ("v", 0.5),
    "lipschitz": ("s", 0.75),
    "learned": ("s", 0.75),
    "regularized": ("o", 1.0),
    "free": ("D", 0.9),
}


def look_of_ours(parameterization: str, geometry: str, spectrum: str | None) -> Appearance | None:
    """Return how layers of this package look; None for a geometry or specification of somebody else.

    Args:
        parameterization: name of the specification.
        geometry: its name.
        spectrum: where methods differ in it, which then have different markers and shades.
    """
    look = _LOOKS.get((parameterization, geometry))
    if look is None or spectrum is None:
        return look
    marker, shade = _SPECTRA.get(spectrum, ("*", 0.9))
    channels = bytes(round(shade * channel + (1 - shade) * 255) for channel in bytes.fromhex(look.color[1:]))
    return replace(look, color=f"#{channels.hex()}", marker=marker)


def distinct(looks: Iterable[Appearance | None]) -> list[Appearance]:
    """Return looks of which no two are equal: new ones for those that are missing, other markers for repeated ones."""
    given = list(looks)
    colours = {look.color for look in given if look is not None}
    fresh = [default_look(position) for position in range(len(COLOURS) * len(LINES))]
    fresh.sort(key=lambda look: look.color in colours)
    found: list[Appearance] = []
    for look in given:
        choices = fresh if look is None else [look, *(replace(look, marker=marker) for marker in MARKERS)]
        found.append(next((choice for choice in choices if choice not in found), choices[0]))
    return found
