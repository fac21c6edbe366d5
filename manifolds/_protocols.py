"""What optimizers and penalties ask of the objects that own manifold parameters, so that they need no layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from ._embedded_train import EmbeddedTrain


@runtime_checkable
class SpectrumOwner(Protocol):
    """Anything with a spectrum, such as the weight of a layer; the penalties of :mod:`sttp.optim` look for it."""

    def singular_values(self) -> Tensor:
        """Return the singular values, of shape ``(r,)``, unsorted and of any sign, differentiable."""


@runtime_checkable
class TrainMember(Protocol):
    """The manifold of a parameter whose gradient and inner product belong to a whole train.

    Optimizers take the parameters whose manifolds name the same ``whole`` together, in the order of ``position``.
    """

    whole: EmbeddedTrain
    position: int
