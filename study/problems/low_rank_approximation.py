"""The best approximation of a matrix by one of low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import linalg  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from ...manifolds import haar_frame
from ..random_streams import Stream, generator_of_stream
from .train_problem import TrainProblem


@final
@dataclass(frozen=True)
class LowRankApproximation(TrainProblem):
    """Minimize ½‖W − A‖² over the weights W of a train that holds every matrix of its rank (Eckart and Young 1936).

    One mode a side is SVDP; a train does so too if all of its bonds but the centre are as wide as its modes allow. A
    has the singular values of the solution, then noise · (the smallest of them), falling linearly to 0. Gaps are
    relative to ½‖A‖².

    Raises:
        ValueError: a bond beside the centre is bound by the rank, so that the optimum is not that of Eckart and Young.
    """

    kind: ClassVar[str] = "low-rank-approximation"
    summary: ClassVar[str] = (
        "minimize ½‖W − A‖² over trains W; the optimum is A’s truncated singular value decomposition"
    )
    rank: int = 4
    noise: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("row_modes", "column_modes"):
            modes = self.row_modes if name == "row_modes" else self.column_modes[::-1]
            outer = math.prod(modes[:-1])
            if outer > self.rank:
                raise ValueError(
                    f"{name} must leave all matrices of rank {self.rank} to the train: the modes away from the centre "
                    f"multiply to {outer}, got {getattr(self, name)}; give fewer or smaller ones, or a larger rank"
                )

    def cost_of(self, value: Tensor) -> Tensor:
        """Return ½‖W − A‖² of matrices ``(..., rows, columns)``."""
        return (value - self._target.to(value)).square().sum(dim=(-2, -1)) / 2

    @cached_property
    def optimum(self) -> float:
        """Half the squared singular values of A that are left out."""
        return float((linalg.svdvals(self._target.numpy())[self.shape.center_rank :] ** 2).sum()) / 2

    @cached_property
    def scale(self) -> float:
        """Half the squared norm of A."""
        return float(linalg.norm(self._target.numpy()) ** 2) / 2

    @cached_property
    def solution(self) -> Tensor:
        """The truncated singular value decomposition of A."""
        left, values, right = linalg.svd(self._target.numpy(), full_matrices=False)
        rank = self.shape.center_rank
        return torch.from_numpy((left[:, :rank] * values[:rank]) @ right[:rank])

    @cached_property
    def _target(self) -> Tensor:
        size = min(self.shape.rows, self.shape.columns)
        tail = np.linspace(self.noise * self._values[-1], 0, size - self.shape.center_rank, endpoint=False)
        values = torch.from_numpy(np.concatenate((self._values, tail)))
        source = generator_of_stream(self.seed, Stream.DATA)
        left = haar_frame(self.shape.rows, size, dtype=torch.float64, generator=source)
        right = haar_frame(self.shape.columns, size, dtype=torch.float64, generator=source)
        return (left * values) @ right.mT
