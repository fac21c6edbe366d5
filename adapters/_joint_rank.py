"""Joint rank-k: weights that read the same input share its factor (arXiv 2402.16319, read as a stacked SVD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_integer
from ._adapter import Adapter, FrozenWeight
from ._change import Change, LowRank
from ._register import register_adapter
from ._since_start import SinceStart


@final
class SharedInput(nn.Module):
    """The factor V of shape ``(columns, r)`` that some changes share."""

    def __init__(self, right: Tensor) -> None:
        super().__init__()
        self.right = nn.Parameter(right)


@final
class JointFactors(LowRank):
    """ΔW_j = L_j Vᵀ with a V that other weights have, too."""

    def __init__(self, left: Tensor, shared: SharedInput, is_first: bool) -> None:
        super().__init__()
        self.left, self.shared, self.is_first = nn.Parameter(left), shared, is_first

    @property
    def dimension(self) -> int:
        """r rows, and for the first of those that share V r(columns − r) more: r(Σ rows + columns − r) in all."""
        rows, rank = self.left.shape
        return rank * (rows + (len(self.shared.right) - rank if self.is_first else 0))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return L_j and V."""
        return self.left, self.shared.right


@register_adapter
@final
@dataclass(frozen=True)
class JointLowRank(Adapter):
    """W_j + L_j Vᵀ less what that is at the start: V the r largest right singular vectors of the W_j below each other.

    L_j = W_j V at the start, so that the stack of all L_j Vᵀ is its best approximation of rank r. A group stores
    r(columns + Σ rows) numbers. The weights come group by group, in the network's order: choose them by ``only=``.

    Attributes:
        rank: r, at most the columns, and the rows of the stack, of each group.
        matrices: how many weights are a group, such as queries and keys, or gate and up.
    """

    rank: int
    matrices: int

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        require_integer("matrices", self.matrices, least=1)

    def changes(self, weights: Sequence[FrozenWeight], generator: torch.Generator | None) -> list[Change]:
        """Return the changes, which share V within each group."""
        if len(weights) % self.matrices:
            raise ValueError(f"matrices must divide the {len(weights)} weights, got {self.matrices}")
        made: list[Change] = []
        for start in range(0, len(weights), self.matrices):
            group = weights[start : start + self.matrices]
            names = ", ".join(repr(weight.names[0]) for weight in group)
            if len({weight.columns for weight in group}) > 1:
                raise ValueError(f"only= must choose weights of equal inputs for a group, got {names}")
            stack = torch.cat([weight.matrix for weight in group])
            if self.rank > min(stack.shape):
                raise ValueError(f"rank must be at most {min(stack.shape)} for the layers {names}, got {self.rank}")
            right = torch.linalg.svd(stack, full_matrices=False)[2][: self.rank].mT.contiguous()
            shared = SharedInput(right)
            made += [
                SinceStart(JointFactors(weight.matrix @ right, shared, index == 0))
                for index, weight in enumerate(group)
            ]
        return made
