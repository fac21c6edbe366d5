"""How methods look in all plots: a colour, a marker and a dash pattern each, safe for colour-blind readers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, final

import matplotlib.colors
from matplotlib.axes import Axes

from ..curve import Method

# A pattern by its sign, or where its first dash begins and the lengths of dash and gap.
Line = Literal["-", "--", ":"] | tuple[float, tuple[float, float]]


@final
@dataclass(frozen=True)
class Appearance:
    """Colour, marker and line style in matplotlib's terms."""

    color: str
    marker: str
    line: Line


# Colours after Okabe and Ito (2008), darkened where they are faint on white.
_APPEARANCES: Final[dict[tuple[str, str | None], Appearance]] = {
    ("dense", None): Appearance("#333333", "D", ":"),
    ("sn", None): Appearance("#777777", "h", ":"),
    ("sr", None): Appearance("#B00020", "*", ":"),
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


def dress(axes: Axes) -> None:
    """Give a panel the faint grid and the two borders that all panels have."""
    axes.grid(True, color="#e5e5e5", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def appearance(method: Method) -> Appearance:
    """Return how a method looks; methods that differ in their spectrum alone have different markers and shades."""
    look = _APPEARANCES[method.parameterization, method.geometry]
    if method.spectrum is None:
        return look
    marker, shade = _SPECTRA[method.spectrum]
    colour = matplotlib.colors.to_rgb(look.color)
    red, green, blue = (shade * channel + (1 - shade) for channel in colour)
    return replace(look, color=matplotlib.colors.to_hex((red, green, blue)), marker=marker)
