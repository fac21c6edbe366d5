"""The names that studies and the command line use for parameterizations, geometries and spectra."""

from __future__ import annotations

from typing import Final

from ..layers import STTP, SVDP, Free, Householder, Identity, Lipschitz, Riemannian, Specification
from ..manifolds import Geometry, Spectrum
from .arguments import choose

DENSE: Final = "dense"
# Plain weights: as they are, with spectral normalization, and with spectral regularization.
PLAIN: Final = (DENSE, "sn", "sr")
PARAMETERIZATIONS: Final[dict[str, type[STTP] | type[SVDP]]] = {"svdp": SVDP, "sttp": STTP}
GEOMETRIES: Final[dict[str, Geometry]] = {
    "stiefel": Riemannian(redundant=True),
    "grassmann": Riemannian(redundant=False),
    "householder": Householder(redundant=True),
    "householder-reduced": Householder(redundant=False),
}
SPECTRA: Final[dict[str, Spectrum]] = {
    "identity": Identity(),
    "lipschitz": Lipschitz(),
    "learned": Lipschitz(),  # the paper's word for it
    "regularized": Lipschitz(),  # with the D-optimal penalty
    "free": Free(),
}
# The weight of the D-optimal penalty in the loss, of the spectra that have one.
PENALTIES: Final[dict[str, float]] = {"regularized": 1.0}
# The paper's letters.
FLAVOURS: Final[dict[str, str]] = {"C": "identity", "L": "lipschitz", "R": "regularized"}


def specification(parameterization: str, rank: int, spectrum: str, geometry: str = "stiefel") -> Specification:
    """Return the specification that the names stand for.

    Raises:
        ValueError: a name is unknown, or the rank is below 1.
        TypeError: the rank is no integer.
    """
    kind = choose("parameterization", parameterization, PARAMETERIZATIONS)
    frames = choose("geometry", geometry, GEOMETRIES)
    return kind(rank, frames=frames, spectrum=choose("spectrum", spectrum, SPECTRA))
