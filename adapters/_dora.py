"""DoRA: weight-decomposed low-rank adaptation (Liu et al., ICML 2024, arXiv 2402.09353)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_integer, require_number
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change, Product, cast_like
from ._lora import TwoFactors, require_rank_within, uniform_like
from ._register import register_adapter


@final
class Magnitudes(Change):
    """W = diag(m / ‖rows of W0 + ΔW‖)(W0 + ΔW). No gradient flows through the norms, as was published (Sec. 4.3)."""

    squares: Tensor

    def __init__(self, low_rank: TwoFactors, norms: Tensor) -> None:
        super().__init__()
        self.low_rank = low_rank
        self.magnitudes = nn.Parameter(norms.clone())
        self.register_buffer("squares", norms.square())

    @property
    def dimension(self) -> int:
        """That of ΔW, and one more for each row, as far as there are so many entries."""
        rows, columns = len(self.magnitudes), self.low_rank.A.shape[1]
        return min(self.low_rank.dimension + rows, rows * columns)

    def merged(self, weight: Tensor) -> Tensor:
        """Return W."""
        direction = self.low_rank.merged(weight)
        return self._scales(torch.linalg.vector_norm(direction.detach(), dim=1)).unsqueeze(-1) * direction

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Return x Wᵀ; the rows' norms come from those of W0 and W0 Aᵀ, so that W0 itself is not needed."""
        with torch.no_grad():
            left, right = self.low_rank.factors()
            crossed = base(right.mT.to(vectors.dtype)).mT.to(left.dtype)
            squares = self.squares + (left * (2 * crossed + left @ (right.mT @ right))).sum(-1)
        output = base(vectors)
        output = output + self.low_rank.product(cast_like(vectors, self)).to(output.dtype)
        return output * self._scales(squares.clamp(min=0).sqrt()).to(output.dtype)

    def _scales(self, norms: Tensor) -> Tensor:
        return self.magnitudes / norms.clamp(min=torch.finfo(norms.dtype).tiny)


@register_adapter
@final
@dataclass(frozen=True)
class DoRA(WeightAdapter):
    """LoRA of the directions of the rows of W0, and their lengths m. At the start B = 0 and m the lengths there are.

    Attributes:
        rank: r, at most the smaller dimension of each weight.
        alpha: α of the scale α/r, by default r.
    """

    rank: int
    alpha: float | None = None

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        if self.alpha is not None:
            require_number("alpha", self.alpha, above=0)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        require_rank_within(self.rank, weight)
        A = uniform_like(weight.matrix, self.rank, weight.columns, 1 / math.sqrt(weight.columns), generator)
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        low_rank = TwoFactors(A, weight.matrix.new_zeros(weight.rows, self.rank), scale)
        return Magnitudes(low_rank, torch.linalg.vector_norm(weight.matrix, dim=1))
