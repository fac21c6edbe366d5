"""LoRETTA_rep: LoRA whose two factors are tensor trains (Yang et al., NAACL 2024, arXiv 2402.11417)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import TrainShape, balanced_modes, require_instance, require_integer, require_number
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change, LowRank
from ._lora import require_rank_within
from ._register import register_adapter
from ._since_start import AsPublished, FromBase, RandomStart


@final
class TrainFactor(nn.Module):
    """A matrix ``(q_1⋯q_D, r)`` as a tensor train of the modes q_1 … q_D, r, with free cores.

    Args:
        shape: the train, the q_k on its left and r on its right.
        like: gives dtype and device.
        deviation: of the entries of the random matrix that it starts as.
        generator: draws it.
    """

    def __init__(self, shape: TrainShape, like: Tensor, deviation: float, generator: torch.Generator | None) -> None:
        super().__init__()
        self.shape = shape
        modes, ranks = (*shape.row_modes, *shape.column_modes), shape.ranks
        # An entry is a sum of ∏R products of independent numbers, one of each core.
        each = (deviation**2 / math.prod(ranks)) ** (0.5 / len(modes))
        device = like.device if generator is None else generator.device
        self.cores = nn.ParameterList(
            each
            * torch.randn(ranks[k], mode, ranks[k + 1], dtype=like.dtype, device=device, generator=generator).to(
                like.device
            )
            for k, mode in enumerate(modes)
        )

    def matrix(self) -> Tensor:
        """Return the matrix."""
        first, *others = self.cores
        product = first.flatten(0, 1)
        for core in others:
            product = (product @ core.flatten(1)).reshape(-1, core.shape[2])
        return product.reshape(self.shape.rows, self.shape.columns)


@final
class TrainFactors(LowRank):
    """ΔW = scale · B A with B and Aᵀ a :class:`TrainFactor` each."""

    def __init__(self, left: TrainFactor, right: TrainFactor, scale: float) -> None:
        super().__init__()
        self.left, self.right, self.scale = left, right, scale

    @property
    def dimension(self) -> int:
        """That of the trains of the same modes and ranks, the r between the factors being contracted."""
        left, right = self.left.shape, self.right.shape
        center = min(left.center_rank, right.center_rank)
        bounds = (*left.ranks[1 : len(left.row_modes)], center, *reversed(right.ranks[1 : len(right.row_modes)]))
        return TrainShape(left.row_modes, right.row_modes[::-1], bounds).degrees_of_freedom()

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return scale · B and Aᵀ."""
        return self.scale * self.left.matrix(), self.right.matrix()


@register_adapter
@final
@dataclass(frozen=True)
class LoRETTA(WeightAdapter):
    """ΔW = (α/r) B A with A and B tensor trains, all of whose cores are random at the start.

    As published the start is not the base, and ``start=AsPublished()`` has it so; ``FromBase()`` takes it off. The size
    of the random cores is our choice: entries of A and B have the variances 1/columns and 1/rows.

    Attributes:
        rank: r, at most the smaller dimension of each weight.
        train_rank: bound on the ranks R of the trains.
        modes: (row modes, column modes) of each weight; by default modes of about equal size near 8.
        alpha: α, by default r.
        start: ``FromBase()`` or ``AsPublished()``.
    """

    rank: int
    train_rank: int
    modes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    alpha: float | None = None
    start: RandomStart = field(default_factory=FromBase)

    def __post_init__(self) -> None:
        require_integer("rank", self.rank, least=1)
        require_integer("train_rank", self.train_rank, least=1)
        if self.modes is not None:
            require_instance("modes", self.modes, tuple, "a pair (row modes, column modes), or None")
            if len(self.modes) != 2:
                raise ValueError(f"modes must be a pair (row modes, column modes), got {self.modes}")
        if self.alpha is not None:
            require_number("alpha", self.alpha, above=0)
        require_instance("start", self.start, RandomStart, "FromBase() or AsPublished()")

    @property
    def defect(self) -> str | None:
        """Why the published start is not the base."""
        return "the cores of A and B are random" if isinstance(self.start, AsPublished) else None

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        require_rank_within(self.rank, weight)
        sizes = weight.rows, weight.columns
        factors = []
        for side, (size, word) in enumerate(zip(sizes, ("row", "column"), strict=True)):
            modes = balanced_modes(size) if self.modes is None else tuple(self.modes[side])
            if math.prod(modes) != size:
                raise ValueError(f"modes must multiply to the {size} {word}s, got {modes}; take {balanced_modes(size)}")
            shape = TrainShape(modes, (self.rank,), self.train_rank)
            factors.append(TrainFactor(shape, weight.matrix, 1 / math.sqrt(size), generator))
        left, right = factors
        return self.start.of(TrainFactors(left, right, 1.0 if self.alpha is None else self.alpha / self.rank))
