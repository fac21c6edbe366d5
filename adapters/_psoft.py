"""PSOFT: efficient orthogonal fine-tuning with principal subspace adaptation (ICLR 2026), as PEFT has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_integer
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change, LowRank
from ._lora import require_rank_within
from ._register import register_adapter
from ._rotations import cayley, skew_of


@final
class PrincipalRotation(LowRank):
    """ΔW = U_r S_r (diag(b) Q diag(a) − I) V_rᵀ with Q the Cayley transform of a skew K."""

    left: Tensor
    right: Tensor

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__()
        rank = left.shape[1]
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.entries = nn.Parameter(left.new_zeros(rank * (rank - 1) // 2))
        self.a, self.b = nn.Parameter(left.new_ones(rank)), nn.Parameter(left.new_ones(rank))

    @property
    def dimension(self) -> int:
        """r(r − 1)/2 + 2r − 1: a factor moves freely between a and b."""
        return self.entries.numel() + 2 * len(self.a) - 1

    @property
    def has_frames(self) -> bool:
        """True: Q is one."""
        return True

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return U_r S_r (diag(b) Q diag(a) − I) and V_r."""
        rank = len(self.a)
        rotation = self.b.unsqueeze(-1) * cayley(skew_of(self.entries, rank)) * self.a
        return self.left @ (rotation - torch.eye(rank, dtype=rotation.dtype, device=rotation.device)), self.right


@register_adapter
@final
@dataclass(frozen=True)
class PSOFT(WeightAdapter):
    """W0 with its r largest singular pairs rotated and rescaled; K = 0 and a = b = 1 at the start.

    Attributes:
        rank: r, at least 2 and at most the smaller dimension of each weight.
    """

    rank: int

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=2)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        require_rank_within(self.rank, weight)
        left, values, right = torch.linalg.svd(weight.matrix, full_matrices=False)
        scaled = left[:, : self.rank] * values[: self.rank]
        return PrincipalRotation(scaled, right[: self.rank].mT.contiguous())
