"""What optimizers and penalties ask of the objects that own manifold parameters, so that they need no layers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class SpectrumOwner(Protocol):
    """Anything with a spectrum, such as the weight of a layer; the penalties of :mod:`sttp.optim` look for it."""

    def singular_values(self) -> Tensor:
        """Return the singular values, of shape ``(r,)``, unsorted and of any sign, differentiable."""
