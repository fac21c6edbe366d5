"""The change that an adapter makes of one frozen weight."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Self

import geoopt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..manifolds import require_precision

Product = Callable[[Tensor], Tensor]


class Change(nn.Module, abc.ABC):
    """W(θ), where a frozen matrix W0 of shape ``(rows, columns)`` was: the module that has the trained θ.

    Called, it returns x W(θ)ᵀ. Its parameters are float32 or float64 and keep their precision whatever the base has.
    """

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """Dimension of the set of W(θ) that all θ reach.

        Where weights share parameters, the first of them says what the shared ones give to all, and one that has none
        of its own may say it again.
        """

    @property
    def stored(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @abc.abstractmethod
    def merged(self, weight: Tensor) -> Tensor:
        """Return W(θ) of shape ``(rows, columns)`` for the frozen W0, differentiable in θ."""

    @abc.abstractmethod
    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Return x W(θ)ᵀ of shape ``(..., rows)``.

        Args:
            vectors: x of shape ``(..., columns)``.
            base: x ↦ x W0ᵀ, so that a base of any kind and precision serves.
        """

    def delta(self, weight: Tensor) -> Tensor:
        """Return ΔW(θ) = W(θ) − W0."""
        return self.merged(weight) - weight

    @property
    def has_frames(self) -> bool:
        """Whether orthogonal matrices are among the parameters or made of them, which half precision cannot keep so."""
        inside = any(change.has_frames for change in self.children() if isinstance(change, Change))
        return inside or any(isinstance(parameter, geoopt.ManifoldTensor) for parameter in self.parameters())

    def require_convertible(self, conversion: Callable[[Tensor], Tensor], owner: str = "a change") -> None:
        """Refuse a conversion of frames to half precision.

        Raises:
            TypeError: it is one.
        """
        if self.has_frames:
            require_precision(conversion(next(self.parameters()).new_empty(0)).dtype, f"the frames of {owner}")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.require_convertible(fn)
        super()._apply(fn, recurse)
        return self


class Additive(Change):
    """W(θ) = W0 + ΔW(θ), where ΔW does not depend on W0. Several of these on one weight add up."""

    @abc.abstractmethod
    def update(self) -> Tensor:
        """Return ΔW(θ) of shape ``(rows, columns)``."""

    @abc.abstractmethod
    def product(self, vectors: Tensor) -> Tensor:
        """Return x ΔW(θ)ᵀ."""

    def merged(self, weight: Tensor) -> Tensor:
        """Return W0 + ΔW(θ)."""
        return weight + self.update()

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Return x W0ᵀ + x ΔW(θ)ᵀ, in the precision of the first."""
        output = base(vectors)
        return output + self.product(cast_like(vectors, self)).to(output.dtype)


class LowRank(Additive):
    """ΔW(θ) = L Rᵀ. Its factors are those of a LoRA with α = r, B = L and A = Rᵀ."""

    @abc.abstractmethod
    def factors(self) -> tuple[Tensor, Tensor]:
        """Return L of shape ``(rows, r)`` and R of shape ``(columns, r)``."""

    def update(self) -> Tensor:
        """Return L Rᵀ."""
        left, right = self.factors()
        return left @ right.mT

    def product(self, vectors: Tensor) -> Tensor:
        """Return (x R) Lᵀ."""
        left, right = self.factors()
        return F.linear(F.linear(vectors, right.mT), left)


def cast_like(vectors: Tensor, change: Change) -> Tensor:
    """Return vectors in the precision of a change; autocast, where it is on, chooses for itself."""
    if torch.is_autocast_enabled(vectors.device.type):
        return vectors
    return vectors.to(next(change.parameters()).dtype)


def cast_back(output: Tensor, vectors: Tensor) -> Tensor:
    """Return an output in the precision of the vectors that it comes from; autocast's, where it is on."""
    return output if torch.is_autocast_enabled(vectors.device.type) else output.to(vectors.dtype)
