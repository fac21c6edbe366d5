"""HRA: Householder reflection adaptation (Yuan et al., NeurIPS 2024, arXiv 2405.17484)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_integer
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change
from ._lora import uniform_like
from ._register import register_adapter
from ._rotations import Rotated, turned_dimension


@final
class Reflections(Rotated):
    """R = ∏_j (I − 2 u_j u_jᵀ / ‖u_j‖²), applied one after another."""

    def __init__(self, vectors: Tensor, rows: int) -> None:
        super().__init__()
        self.vectors, self.rows = nn.Parameter(vectors), rows

    @property
    def dimension(self) -> int:
        """r(i − r) + r(r − 1)/2: an orthogonal map of a subspace of dimension r, at most the rows of W0."""
        columns, rank = self.vectors.shape
        return turned_dimension(min(rank, self.rows), columns)

    def rotate(self, vectors: Tensor) -> Tensor:
        """Return x Rᵀ."""
        return _reflected(vectors, self._units().flip(0))

    def rotate_back(self, vectors: Tensor) -> Tensor:
        """Return x R."""
        return _reflected(vectors, self._units())

    def _units(self) -> Tensor:
        return nn.functional.normalize(self.vectors.mT, dim=-1)


@register_adapter
@final
@dataclass(frozen=True)
class HRA(WeightAdapter):
    """W = W0 ∏_{j≤r} (I − 2 u_j u_jᵀ); at the start the u_j come in equal pairs, whose reflections cancel.

    Attributes:
        rank: r, even, since with an odd one the start is no identity, and at most the columns of each weight.
    """

    rank: int

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=2)
        if self.rank % 2:
            raise ValueError(f"rank must be even, so that reflections cancel at the start, got {self.rank}")

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        if self.rank > weight.columns:
            raise ValueError(f"rank must be at most the {weight.columns} columns, got {self.rank}")
        half = self.rank // 2
        drawn = uniform_like(weight.matrix, weight.columns, half, 1 / math.sqrt(half), generator)
        return Reflections(drawn.repeat_interleave(2, dim=1), weight.rows)


def _reflected(vectors: Tensor, units: Tensor) -> Tensor:
    for unit in units.to(vectors.dtype):
        vectors = vectors - 2 * (vectors @ unit).unsqueeze(-1) * unit
    return vectors
