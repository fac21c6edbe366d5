"""StelLA: subspace learning in low-rank adaptation on Stiefel manifolds (NeurIPS 2025, arXiv 2510.01938)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, final

import geoopt
import torch
from torch import Tensor, nn

from ..layers import manifold_parameter
from ..manifolds import (
    Polar,
    Stiefel,
    haar_frame,
    require_flag,
    require_instance,
    require_integer,
    require_number,
    require_precision,
)
from ..optim import Retracted
from ._adapter import FrozenWeight, WeightAdapter, trained_parameters
from ._change import Change, LowRank
from ._lora import require_rank_within
from ._register import register_adapter
from ._since_start import AsPublished, FromBase, RandomStart


@final
class StiefelFactors(LowRank):
    """ΔW = scale · U S Vᵀ with U and V on the Stiefel manifold, S full or diagonal."""

    def __init__(self, U: Tensor, S: Tensor, V: Tensor, scale: float) -> None:
        super().__init__()
        manifold = Stiefel(metric="canonical", retraction=Polar())
        self.U, self.V = manifold_parameter(U, manifold), manifold_parameter(V, manifold)
        self.S, self.scale = nn.Parameter(S), scale

    @property
    def dimension(self) -> int:
        """r(rows + columns − r): that of the matrices of rank r."""
        rank = self.U.shape[1]
        return rank * (len(self.U) + len(self.V) - rank)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return scale · U S and V."""
        return self.scale * (self.U @ self.S if self.S.dim() == 2 else self.U * self.S), self.V

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        require_precision(fn(self.U.new_empty(0)).dtype, "the frames of StelLA")
        super()._apply(fn, recurse)
        return self


@register_adapter
@final
@dataclass(frozen=True)
class StelLA(WeightAdapter):
    """ΔW = (α/r) U S Vᵀ with frames U, V; random frames and S = I at the start.

    As published the start is not the identity, and ``start=AsPublished()`` has it so; ``FromBase()`` takes it off.

    Attributes:
        rank: r, at most the smaller dimension of each weight.
        alpha: α, by default r.
        diagonal: whether S is diagonal.
        start: ``FromBase()`` or ``AsPublished()``.
    """

    rank: int
    alpha: float | None = None
    diagonal: bool = False
    start: RandomStart = field(default_factory=FromBase)

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        if self.alpha is not None:
            require_number("alpha", self.alpha, above=0)
        require_flag("diagonal", self.diagonal)
        require_instance("start", self.start, RandomStart, "FromBase() or AsPublished()")

    @property
    def defect(self) -> str | None:
        """Why the published start is not the base."""
        return "U S Vᵀ is random" if isinstance(self.start, AsPublished) else None

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return AdamW with ``Retracted``, whose ``width`` c is the commonest number of rows of the frames.

        The source takes the network's hidden width for c, which in a transformer is that number.
        """
        parameters = trained_parameters(network)
        frames = Counter(len(p) for p in parameters if isinstance(p, geoopt.ManifoldTensor))
        width = min(rows for rows, times in frames.items() if times == max(frames.values())) if frames else None
        return Retracted(torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0), width=width)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        require_rank_within(self.rank, weight)
        matrix, rank = weight.matrix, self.rank
        device = matrix.device if generator is None else generator.device
        U, V = (
            haar_frame(size, rank, dtype=matrix.dtype, device=device, generator=generator).to(matrix.device)
            for size in (weight.rows, weight.columns)
        )
        S = matrix.new_ones(rank) if self.diagonal else torch.eye(rank, dtype=matrix.dtype, device=matrix.device)
        return self.start.of(StiefelFactors(U, S, V, 1.0 if self.alpha is None else self.alpha / rank))
