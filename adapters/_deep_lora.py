"""Deep LoRA: a product of several factors (Yaras et al., ICML 2024, arXiv 2406.04112)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import haar_frame, require_flag, require_integer, require_number
from ._adapter import FrozenWeight, WeightAdapter, trained_parameters
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


@final
class CompressedFactors(LowRank):
    """ΔW = U C_L ⋯ C_1 Vᵀ with C_k of shape ``(r, r)``; U and V are trained, too, or stay."""

    def __init__(self, U: Tensor, chain: list[Tensor], V: Tensor, are_outer_trained: bool) -> None:
        super().__init__()
        self.U, self.V = nn.Parameter(U, are_outer_trained), nn.Parameter(V, are_outer_trained)
        self.chain = nn.ParameterList(chain)  # C_1 first

    @property
    def dimension(self) -> int:
        """r(rows + columns − r): that of the matrices of rank r; r² where U and V stay."""
        rank = self.U.shape[1]
        return rank * (len(self.U) + len(self.V) - rank) if self.U.requires_grad else rank**2

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return U C_L ⋯ C_1, and V."""
        return functools.reduce(lambda product, factor: product @ factor, reversed(self.chain), self.U), self.V


@register_adapter
@final
@dataclass(frozen=True)
class DeepLoRA(WeightAdapter):
    """ΔW = W_L ⋯ W_1, each factor ε times an orthogonal one at the start: ‖ΔW‖ = ε^L there, 1e-9 by default.

    Compressed, ΔW = U C_L ⋯ C_1 Vᵀ, at the start with C_k = εI and random frames U and V. The method has those in which
    the first gradient would move full factors: adapt with ``rank=None`` and call :func:`~sttp.adapters.compress_deep`.

    Attributes:
        rank: r: factors are r × columns, r × r and rows × r, as in the authors' few-shot experiments; None for
            full ones, as wide as the larger dimension of each weight.
        depth: L, at least 3.
        epsilon: ε.
        compressed: whether U and V stand outside the factors, which then are all r × r; r is even.
        gamma: γ of the rate γ·lr that :meth:`optimizer` gives U and V; at 0 they are not trained. The source has 0.01
            for completion and narrow ranks, 0 for factorization.

    Raises:
        TypeError: an attribute is not of its kind.
        ValueError: a number is out of range, or the rank of compressed factors is none or odd.
    """

    rank: int | None
    depth: int = 3
    epsilon: float = 1e-3
    compressed: bool = False
    gamma: float = 0.01

    def __post_init__(self) -> None:
        if self.rank is not None:
            require_integer("rank", self.rank, least=1)
        require_integer("depth", self.depth, least=3)
        require_number("epsilon", self.epsilon, above=0)
        require_flag("compressed", self.compressed)
        require_number("gamma", self.gamma, least=0)
        if self.compressed and (self.rank is None or self.rank % 2):
            raise ValueError(f"rank must be even where factors are compressed, got {self.rank}")

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return AdamW with eps 1e-6 and without weight decay, at the rate γ·lr for U and V of compressed factors."""
        compressed = [module for module in network.modules() if isinstance(module, CompressedFactors)]
        outer = {id(p): p for module in compressed for p in (module.U, module.V) if p.requires_grad}
        groups = [{"params": [p for p in trained_parameters(network) if id(p) not in outer], "lr": lr}]
        if outer:
            groups.append({"params": list(outer.values()), "lr": self.gamma * lr})
        return torch.optim.AdamW(groups, lr=lr, eps=1e-6, weight_decay=0.0)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        if self.rank is not None:
            require_rank_within(self.rank, weight)
        if self.compressed and self.rank is not None:
            U, V = (_frame(size, self.rank, weight.matrix, generator) for size in (weight.rows, weight.columns))
            return self.compressed_change(U, V)
        width = max(weight.rows, weight.columns) if self.rank is None else self.rank
        sizes = [weight.columns, *[width] * (self.depth - 1), weight.rows]
        return DeepFactors([self._factor(sizes[k + 1], sizes[k], weight, generator) for k in range(self.depth)])

    def compressed_change(self, U: Tensor, V: Tensor) -> CompressedFactors:
        """Return the compressed change with given U and V."""
        eye = self.epsilon * torch.eye(U.shape[1], dtype=U.dtype, device=U.device)
        return CompressedFactors(U, [eye.clone() for _ in range(self.depth)], V, self.gamma > 0)

    def _factor(self, rows: int, columns: int, weight: FrozenWeight, generator: torch.Generator | None) -> Tensor:
        tall = _frame(max(rows, columns), min(rows, columns), weight.matrix, generator)
        return self.epsilon * (tall if rows >= columns else tall.mT.contiguous())


def _frame(rows: int, columns: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return haar_frame(rows, columns, dtype=like.dtype, device=device, generator=generator).to(like.device)
