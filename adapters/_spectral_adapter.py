"""Spectral Adapter: the largest singular pairs moved or rotated (Zhang & Pilanci, NeurIPS 2024, arXiv 2405.13952)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor, nn

from ..manifolds import require_choice, require_integer
from ._adapter import FrozenWeight, WeightAdapter, adamw
from ._change import Change, LowRank
from ._register import register_adapter
from ._rotations import cayley

Form = Literal["additive", "rotational"]


class _Pairs(LowRank, abc.ABC):
    """Some singular pairs U, S, V of W0, which are kept with the change: another SVD may have other signs."""

    left: Tensor
    values: Tensor
    right: Tensor

    def __init__(self, left: Tensor, values: Tensor, right: Tensor) -> None:
        super().__init__()
        for name, tensor in (("left", left), ("values", values), ("right", right)):
            self.register_buffer(name, tensor.contiguous())


@final
class MovedPairs(_Pairs):
    """ΔW = (U + A) S (V + B)ᵀ − U S Vᵀ, of rank up to 2r."""

    def __init__(self, left: Tensor, values: Tensor, right: Tensor) -> None:
        super().__init__(left, values, right)
        self.A, self.B = nn.Parameter(torch.zeros_like(left)), nn.Parameter(torch.zeros_like(right))

    @property
    def dimension(self) -> int:
        """r(rows + columns − r)."""
        rank = len(self.values)
        return rank * (len(self.A) + len(self.B) - rank)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return [A S, (U + A) S] and [V, B]."""
        moved = torch.cat((self.A, self.left + self.A), -1) * self.values.repeat(2)
        return moved, torch.cat((self.right, self.B), -1)


@final
class RotatedPairs(_Pairs):
    """ΔW = U (c(A) diag(S∘γ) c(B)ᵀ − diag(S)) Vᵀ, c(X) the Cayley transform of K = (Xᵀ − X)/2."""

    def __init__(self, left: Tensor, values: Tensor, right: Tensor) -> None:
        super().__init__(left, values, right)
        rank = len(values)
        self.A, self.B = nn.Parameter(left.new_zeros(rank, rank)), nn.Parameter(left.new_zeros(rank, rank))
        self.gamma = nn.Parameter(torch.ones_like(values))

    @property
    def dimension(self) -> int:
        """r²: the middle is any matrix."""
        return self.A.numel()

    @property
    def has_frames(self) -> bool:
        """True: c(A) and c(B) are."""
        return True

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return U times the middle, and V."""
        A, B = (cayley((X.mT - X) / 2) for X in (self.A, self.B))
        middle = (A * (self.values * self.gamma)) @ B.mT - torch.diag(self.values)
        return self.left @ middle, self.right


@register_adapter
@final
@dataclass(frozen=True)
class SpectralAdapter(WeightAdapter):
    """The r singular pairs of W0 from number ``block`` · r on, moved or rotated; all changes are zero at the start.

    Adapters of different blocks tune disjoint columns, and their sum is exact: ``switch(network, "one", "two")``. The
    official script averages merged weights, which divides each change by their number.

    Attributes:
        rank: r; (block + 1) r is at most the smaller dimension of each weight.
        form: ``"additive"``, r(rows + columns) numbers, or ``"rotational"``, 2r² + r.
        block: which pairs, in groups of r from the largest on.
    """

    rank: int
    form: Form = "additive"
    block: int = 0

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        require_choice("form", self.form, get_args(Form))
        require_integer("block", self.block, least=0)

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return AdamW with weight decay 0.01, as in the authors' script for the GLUE tasks."""
        return adamw(network, lr, weight_decay=0.01)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        most, stop = min(weight.rows, weight.columns), (self.block + 1) * self.rank
        if stop > most:
            raise ValueError(
                f"rank must be at most {most // (self.block + 1)} for block {self.block} of a {weight.rows} x "
                f"{weight.columns} weight, got {self.rank}"
            )
        left, values, right = torch.linalg.svd(weight.matrix, full_matrices=False)
        pairs = slice(self.block * self.rank, stop)
        kind = MovedPairs if self.form == "additive" else RotatedPairs
        return kind(left[:, pairs], values[pairs], right[pairs].mT)
