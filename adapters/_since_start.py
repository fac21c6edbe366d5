"""A change that is the identity at its start, whatever it starts from."""

from __future__ import annotations

import abc
import copy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ._change import Change, LowRank
from ._register import register_part


@final
class SinceStart(LowRank):
    """ΔW(θ) − ΔW(θ_0): what a low-rank change has become since its start, the θ_0 that are kept beside.

    It is what replacing the base by W0 − ΔW(θ_0) gives, but leaves the base as it is, so that other adapters on the
    weight, and nothing at all, remain to be had without rounding.
    """

    def __init__(self, change: LowRank) -> None:
        super().__init__()
        self.change = change
        self.start = copy.deepcopy(change).requires_grad_(False)

    @property
    def dimension(self) -> int:
        """That of the change."""
        return self.change.dimension

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return [L, −L_0] and [R, R_0]."""
        (left, right), (left_start, right_start) = self.change.factors(), self.start.factors()
        return torch.cat((left, -left_start), -1), torch.cat((right, right_start), -1)


class RandomStart(abc.ABC):
    """What becomes of a start that was published as a random change."""

    @abc.abstractmethod
    def of(self, change: LowRank) -> Change:
        """Return the change that an adapter makes."""


@register_part
@final
@dataclass(frozen=True)
class FromBase(RandomStart):
    """The random change is taken off again, so that the start is the base."""

    def of(self, change: LowRank) -> Change:
        """Return the change since its start."""
        return SinceStart(change)


@register_part
@final
@dataclass(frozen=True)
class AsPublished(RandomStart):
    """The random change is there: the start is not the base."""

    def of(self, change: LowRank) -> Change:
        """Return the change itself."""
        return change
