"""How methods look in all plots: a colour, a marker and a dash pattern each, safe for colour-blind readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

from .curve import Method


@final
@dataclass(frozen=True)
class Appearance:
    """Colour, marker and line style in matplotlib's terms."""

    color: str
    marker: str
    line: Literal["-", "--", ":"]


# Colours after Okabe and Ito (2008), darkened where they are faint on white.
_APPEARANCES: Final[dict[tuple[str, str | None], Appearance]] = {
    ("dense", None): Appearance("#333333", "D", ":"),
    ("svdp", "stiefel"): Appearance("#E69F00", "s", "-"),
    ("svdp", "grassmann"): Appearance("#8C6D00", "p", "-"),
    ("svdp", "householder"): Appearance("#A0522D", "^", "--"),
    ("svdp", "householder-reduced"): Appearance("#D55E00", "<", "--"),
    ("sttp", "stiefel"): Appearance("#0072B2", "o", "-"),
    ("sttp", "grassmann"): Appearance("#56B4E9", "v", "-"),
    ("sttp", "householder"): Appearance("#009E73", "P", "--"),
    ("sttp", "householder-reduced"): Appearance("#CC79A7", "X", "--"),
}


def appearance(method: Method) -> Appearance:
    """Return how a method looks."""
    return _APPEARANCES[method.parameterization, method.geometry]
