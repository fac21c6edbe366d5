"""The built-in studies by name."""

from __future__ import annotations

from typing import Final

from .arguments import choose
from .curve import Method
from .paper import EXPERIMENTS, paper_study
from .study import Study
from .tasks.images import KNOWN_SHAPES

STUDIES: Final[dict[str, Study]] = {
    "digits": Study(
        name="digits",
        title="Spectral tensor train layers on handwritten digits",
        methods=(
            Method("dense"),
            Method("svdp", "stiefel"),
            Method("svdp", "householder"),
            Method("sttp", "stiefel"),
            Method("sttp", "grassmann"),
            Method("sttp", "householder"),
            Method("sttp", "householder-reduced"),
        ),
    ),
    **{name: paper_study(name, "digits", KNOWN_SHAPES["digits"]) for name in EXPERIMENTS},
}


def named_study(name: str) -> Study:
    """Return a built-in study.

    Raises:
        ValueError: there is none of this name.
    """
    return choose("study", name, STUDIES)
