"""OFT: block-diagonal rotations (Qiu et al., NeurIPS 2023, arXiv 2306.07280), by the exact Cayley transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_integer
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change
from ._register import register_adapter
from ._rotations import Rotated, cayley, skew_of, turned_dimension


@final
class BlockRotation(Rotated):
    """R block-diagonal, each block the Cayley transform of a skew matrix of size b."""

    def __init__(self, entries: Tensor, block: int, rows: int) -> None:
        super().__init__()
        self.entries, self.block, self.rows = nn.Parameter(entries), block, rows

    @property
    def dimension(self) -> int:
        """(columns/b) b(b − 1)/2; less where a block has fewer rows than columns."""
        return len(self.entries) * turned_dimension(self.rows, self.block)

    def rotations(self) -> Tensor:
        """Return the blocks of R, of shape ``(columns/b, b, b)``."""
        return cayley(skew_of(self.entries, self.block))

    def rotate(self, vectors: Tensor) -> Tensor:
        """Return x Rᵀ."""
        return self._by_blocks(vectors, self.rotations().mT)

    def rotate_back(self, vectors: Tensor) -> Tensor:
        """Return x R."""
        return self._by_blocks(vectors, self.rotations())

    def _by_blocks(self, vectors: Tensor, blocks: Tensor) -> Tensor:
        parts = vectors.unflatten(-1, (len(blocks), self.block))
        return torch.einsum("...kb,kbc->...kc", parts, blocks.to(parts.dtype)).flatten(-2)


@register_adapter
@final
@dataclass(frozen=True)
class OFT(WeightAdapter):
    """W = W0 R with R block-diagonal and orthogonal, R = I at the start.

    PEFT's default is a truncated series in place of the Cayley transform, which is not orthogonal: ‖RᵀR − I‖ is 0.02 at
    ‖K‖ = 0.3. Here it is exact; the entries of K mean the same.

    Attributes:
        block: b, which divides the columns of each weight.
    """

    block: int

    def __post_init__(self) -> None:
        require_integer("block", self.block, least=2)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        if weight.columns % self.block:
            sizes = [size for size in range(2, weight.columns + 1) if weight.columns % size == 0]
            raise ValueError(f"block must divide the {weight.columns} columns, got {self.block}; take one of {sizes}")
        entries = weight.matrix.new_zeros(weight.columns // self.block, self.block * (self.block - 1) // 2)
        return BlockRotation(entries, self.block, weight.rows)
