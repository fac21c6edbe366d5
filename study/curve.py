"""What is compared: methods, which are parameterizations with their geometry, and curves, methods at a rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

from ..layers import Specification
from .parameterizations import DENSE, GEOMETRIES, PARAMETERIZATIONS, SPECTRA, specification
from .validation import require_integer, require_known


@final
@dataclass(frozen=True)
class Method:
    """A parameterization and, but for `dense`, a geometry. Its text form is such as ``dense`` or ``sttp stiefel``.

    Raises:
        ValueError: a name is unknown, or a geometry is missing or too many.
    """

    parameterization: str
    geometry: str | None = None

    def __post_init__(self) -> None:
        require_known("parameterization", self.parameterization, (DENSE, *PARAMETERIZATIONS))
        if not self.is_dense:
            require_known("geometry", self.geometry, GEOMETRIES)
        elif self.geometry is not None:
            raise ValueError(f"geometry must be absent with the parameterization 'dense', got {self.geometry!r}")

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read the text form.

        Raises:
            TypeError: the text is no string.
            ValueError: it is not one or two known names.
        """
        if not isinstance(text, str):
            raise TypeError(f"methods must be strings such as 'dense' or 'sttp stiefel', got {text!r}")
        words = text.split()
        if not 1 <= len(words) <= 2:
            raise ValueError(f"methods must be such as 'dense' or 'sttp stiefel', got {text!r}")
        return cls(*words)

    @property
    def is_dense(self) -> bool:
        """Whether the weights are plain matrices."""
        return self.parameterization == DENSE

    @property
    def title(self) -> str:
        """The method as readers see it, such as ``STTP stiefel``."""
        return str(self) if self.geometry is None else f"{self.parameterization.upper()} {self.geometry}"

    def __str__(self) -> str:
        return self.parameterization if self.geometry is None else f"{self.parameterization} {self.geometry}"


@final
@dataclass(frozen=True)
class Curve:
    """A method at a rank with a spectrum, both None for `dense`: what one learning rate is chosen for.

    Raises:
        ValueError: the rank is below 1, the spectrum unknown, either of them missing or too many, or the geometry
            one that SVDP does not tell from another.
        TypeError: the rank is no integer.
    """

    method: Method
    rank: int | None = None
    spectrum: str | None = None

    def __post_init__(self) -> None:
        if self.method.is_dense:
            for name, value in (("rank", self.rank), ("spectrum", self.spectrum)):
                if value is not None:
                    raise ValueError(f"{name} must be absent with the parameterization 'dense', got {value!r}")
            return
        require_integer("rank", self.rank, minimum=1)
        require_known("spectrum", self.spectrum, SPECTRA)
        twins = {"grassmann": "stiefel", "householder-reduced": "householder"}
        twin = twins.get(self.method.geometry or "")
        if self.method.parameterization == "svdp" and twin and self.spectrum != "identity":
            raise ValueError(
                f"geometry {self.method.geometry!r} is for svdp with the spectrum {self.spectrum!r} the same as "
                f"{twin!r}; give 'svdp {twin}'"
            )

    @property
    def specification(self) -> Specification | None:
        """The specification of the layers; None for `dense`."""
        if self.rank is None or self.spectrum is None:
            return None
        method = self.method
        return specification(method.parameterization, self.rank, self.spectrum, method.geometry or "")

    def __str__(self) -> str:
        return str(self.method) if self.rank is None else f"{self.method}, rank {self.rank}"
