"""What is compared: methods, which are parameterizations with their geometry, and curves, methods at a rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

from ..layers import Specification
from .arguments import require_integer, require_known
from .parameterizations import (
    DENSE,
    FLAVOURS,
    GEOMETRIES,
    PARAMETERIZATIONS,
    PENALTIES,
    PLAIN,
    SPECTRA,
    specification,
)


@final
@dataclass(frozen=True)
class Method:
    """A parameterization, for spectral layers a geometry, and if it is not the study's a spectrum.

    Its text form is such as ``dense``, ``sn``, ``sttp stiefel`` or ``sttp stiefel lipschitz``; the last may be written
    ``sttp stiefel L``, in the paper's letters: C for `identity`, L for `lipschitz`, R for `regularized`.

    Raises:
        ValueError: a name is unknown, or a geometry is missing or too many.
    """

    parameterization: str
    geometry: str | None = None
    spectrum: str | None = None

    def __post_init__(self) -> None:
        require_known("parameterization", self.parameterization, (*PLAIN, *PARAMETERIZATIONS))
        if not self.is_plain:
            require_known("geometry", self.geometry, GEOMETRIES)
            if self.spectrum is not None:
                require_known("spectrum", self.spectrum, (*SPECTRA, *FLAVOURS))
                object.__setattr__(self, "spectrum", FLAVOURS.get(self.spectrum, self.spectrum))
            return
        _require_absent(self.parameterization, geometry=self.geometry, spectrum=self.spectrum)

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read the text form.

        Raises:
            TypeError: the text is no string.
            ValueError: it is not one to three known names.
        """
        if not isinstance(text, str):
            raise TypeError(f"methods must be strings such as 'dense' or 'sttp stiefel', got {text!r}")
        words = text.split()
        if not 1 <= len(words) <= 3:
            raise ValueError(f"methods must be such as 'dense', 'sttp stiefel' or 'sttp stiefel L', got {text!r}")
        return cls(*words)

    @property
    def is_dense(self) -> bool:
        """Whether the weights are plain matrices that nothing constrains."""
        return self.parameterization == DENSE

    @property
    def is_plain(self) -> bool:
        """Whether the weights are plain matrices, normalized or not: there is neither rank nor frame."""
        return self.parameterization in PLAIN

    @property
    def title(self) -> str:
        """The method as readers see it, such as ``STTP stiefel`` or ``STTP-L stiefel``."""
        if self.is_plain:
            return str(self) if self.is_dense else self.parameterization.upper()
        letters = {spectrum: letter for letter, spectrum in FLAVOURS.items()}
        flavour = "" if self.spectrum is None else f"-{letters.get(self.spectrum, self.spectrum)}"
        return f"{self.parameterization.upper()}{flavour} {self.geometry}"

    def __str__(self) -> str:
        return " ".join(word for word in (self.parameterization, self.geometry, self.spectrum) if word is not None)


@final
@dataclass(frozen=True)
class Curve:
    """A method at a rank with a spectrum, both None for plain weights: what one learning rate is chosen for.

    Raises:
        ValueError: the rank is below 1, the spectrum unknown, either of them missing or too many, or the geometry
            one that SVDP does not tell from another.
        TypeError: the rank is no integer.
    """

    method: Method
    rank: int | None = None
    spectrum: str | None = None

    def __post_init__(self) -> None:
        if self.method.is_plain:
            _require_absent(self.method.parameterization, rank=self.rank, spectrum=self.spectrum)
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
        """The specification of the layers; None for plain weights."""
        if self.rank is None or self.spectrum is None:
            return None
        method = self.method
        return specification(method.parameterization, self.rank, self.spectrum, method.geometry or "")

    @property
    def penalty(self) -> float:
        """The weight of the D-optimal penalty in the loss; 0 but for the spectrum `regularized`."""
        return PENALTIES.get(self.spectrum or "", 0.0)

    def __str__(self) -> str:
        return str(self.method) if self.rank is None else f"{self.method}, rank {self.rank}"


def _require_absent(parameterization: str, **values: object) -> None:
    """Refuse what plain weights do not have.

    Raises:
        ValueError: a value is given.
    """
    for name, value in values.items():
        if value is not None:
            raise ValueError(
                f"{name} must be absent with the parameterization {parameterization!r}, got {value!r}; leave it out"
            )
