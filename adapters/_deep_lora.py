"""Deep LoRA: a product of several factors (Yaras et al., ICML 2024, arXiv 2406.04112), without its compression."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import haar_frame, require_integer, require_number
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change, LowRank
from ._lora import require_rank_within
from ._register import register_adapter


@final
class DeepFactors(LowRank):
    """ΔW = W_L ⋯ W_1."""

    def __init__(self, factors: list[Tensor]) -> None:
        super().__init__()
        self.chain = nn.ParameterList(factors)  # W_1 first

    @property
    def dimension(self) -> int:
        """r(rows + columns − r): that of the matrices of rank r, the smallest size between the factors."""
        rows, columns = len(self.chain[-1]), self.chain[0].shape[1]
        rank = min(rows, columns, *(len(factor) for factor in self.chain))
        return rank * (rows + columns - rank)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return W_L ⋯ W_2 and W_1ᵀ."""
        first, *others = self.chain
        return functools.reduce(lambda product, factor: factor @ product, others), first.mT


@register_adapter
@final
@dataclass(frozen=True)
class DeepLoRA(WeightAdapter):
    """ΔW = W_L ⋯ W_1, each factor ε times an orthogonal one at the start: ‖ΔW‖ = ε^L there, 1e-9 by default.

    Attributes:
        rank: r: factors are r × columns, r × r and rows × r, as in the authors' few-shot experiments; None for
            full ones, as wide as the larger dimension of each weight.
        depth: L, at least 3.
        epsilon: ε.
    """

    rank: int | None
    depth: int = 3
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if self.rank is not None:
            require_integer("rank", self.rank, least=1)
        require_integer("depth", self.depth, least=3)
        require_number("epsilon", self.epsilon, above=0)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        if self.rank is not None:
            require_rank_within(self.rank, weight)
        width = max(weight.rows, weight.columns) if self.rank is None else self.rank
        sizes = [weight.columns, *[width] * (self.depth - 1), weight.rows]
        return DeepFactors([self._factor(sizes[k + 1], sizes[k], weight, generator) for k in range(self.depth)])

    def _factor(self, rows: int, columns: int, weight: FrozenWeight, generator: torch.Generator | None) -> Tensor:
        like = weight.matrix
        device = like.device if generator is None else generator.device
        tall = haar_frame(
            max(rows, columns), min(rows, columns), dtype=like.dtype, device=device, generator=generator
        ).to(like.device)
        return self.epsilon * (tall if rows >= columns else tall.mT.contiguous())
