"""LoRA (Hu et al., ICLR 2022, arXiv 2106.09685) and PiSSA (Meng et al., NeurIPS 2024, arXiv 2404.02948)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_flag, require_integer, require_number
from ._adapter import FrozenWeight, WeightAdapter, adamw
from ._change import Change, LowRank
from ._register import register_adapter
from ._since_start import SinceStart


@final
class TwoFactors(LowRank):
    """ΔW = scale · B A with A of shape ``(r, columns)`` and B of shape ``(rows, r)``."""

    def __init__(self, A: Tensor, B: Tensor, scale: float = 1.0) -> None:
        super().__init__()
        self.A, self.B, self.scale = nn.Parameter(A), nn.Parameter(B), scale

    @property
    def dimension(self) -> int:
        """r(rows + columns − r): that of the matrices of rank r."""
        rank, columns = self.A.shape
        return rank * (len(self.B) + columns - rank)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return scale · B and Aᵀ."""
        return self.scale * self.B, self.A.mT


@register_adapter
@final
@dataclass(frozen=True)
class LoRA(WeightAdapter):
    """ΔW = (α/r) B A, or (α/√r) B A with rank-stabilized scaling (arXiv 2312.03732). B = 0 at the start.

    Attributes:
        rank: r, at most the smaller dimension of each weight.
        alpha: α, by default r.
        rank_stabilized: whether the scale is α/√r.
    """

    rank: int
    alpha: float | None = None
    rank_stabilized: bool = False

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        if self.alpha is not None:
            require_number("alpha", self.alpha, above=0)
        require_flag("rank_stabilized", self.rank_stabilized)

    @property
    def scale(self) -> float:
        """α/r or α/√r."""
        alpha = self.rank if self.alpha is None else self.alpha
        return alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return AdamW with weight decay 0.01, as for GPT-2 (Hu et al., Table 11)."""
        return adamw(network, lr, weight_decay=0.01)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight: A uniform within ±1/√columns, B zero."""
        require_rank_within(self.rank, weight)
        return TwoFactors(
            uniform_like(weight.matrix, self.rank, weight.columns, 1 / math.sqrt(weight.columns), generator),
            weight.matrix.new_zeros(weight.rows, self.rank),
            self.scale,
        )


@register_adapter
@final
@dataclass(frozen=True)
class PiSSA(WeightAdapter):
    """W = R + B A with B = U_r √S_r, A = √S_r V_rᵀ of the SVD of W0 at the start, and R what remains of W0.

    Attributes:
        rank: r, at most the smaller dimension of each weight.
    """

    rank: int

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight since its start."""
        require_rank_within(self.rank, weight)
        left, values, right = torch.linalg.svd(weight.matrix, full_matrices=False)
        roots = values[: self.rank].sqrt()
        A = roots.unsqueeze(-1) * right[: self.rank]
        return SinceStart(TwoFactors(A, left[:, : self.rank] * roots))


def require_rank_within(rank: int, weight: FrozenWeight) -> None:
    """Refuse a rank above the smaller dimension of a weight.

    Raises:
        ValueError: it is.
    """
    most = min(weight.rows, weight.columns)
    if rank > most:
        raise ValueError(f"rank must be at most {most} for a {weight.rows} x {weight.columns} weight, got {rank}")


def uniform_like(like: Tensor, rows: int, columns: int, bound: float, generator: torch.Generator | None) -> Tensor:
    """Return numbers uniform within ±bound, drawn on the generator's device, with the dtype and place of a tensor."""
    device = like.device if generator is None else generator.device
    drawn = torch.rand(rows, columns, dtype=like.dtype, device=device, generator=generator)
    return ((2 * drawn - 1) * bound).to(like.device)
