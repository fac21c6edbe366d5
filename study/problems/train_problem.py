"""Problems over the weights of a train, and the plainest one: the best approximation of a matrix by one of low rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import linalg  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from ...manifolds import Geometry, SpectralTensorTrain, TrainPoint, TrainShape, haar_frame, require_number
from ..random_streams import Stream, generator_of_stream
from .instance import TrainVariable, Variable, is_embedded
from .problem import KnownProblem


@dataclass(frozen=True)
class TrainProblem(KnownProblem):
    """A cost over the weights W = U diag(s) Vᵀ of a spectral tensor train with a free spectrum.

    Attributes:
        row_modes, column_modes: modes of the rows and of the columns.
        rank: bound on the ranks.
        condition: largest over smallest singular value of the weight that is sought.
        noise: relative size of what is added to it, or to its measurements.
        seed: of the data.

    Raises:
        TypeError: a mode or the rank is no integer, or a number none.
        ValueError: a mode or the rank is below 1, the condition number below 1, or the noise not in [0, 1).
    """

    row_modes: tuple[int, ...] = (4, 8)
    column_modes: tuple[int, ...] = (8, 4)
    rank: int = 3
    condition: float = 5.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("row_modes", "column_modes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _ = self.shape  # checks modes and rank
        require_number("condition", self.condition, least=1)
        require_number("noise", self.noise, least=0, below=1)

    @cached_property
    def shape(self) -> TrainShape:
        """Modes and ranks."""
        return TrainShape(self.row_modes, self.column_modes, self.rank)

    def start(self, geometry: Geometry, seed: int, dtype: torch.dtype = torch.float64) -> Variable:
        """Return a random weight."""
        start = self.starting_point(generator_of_stream(seed, Stream.START))
        train = SpectralTensorTrain(self.shape, geometry)
        return TrainVariable(train, SpectralTensorTrain(self.shape).convert(start, train).to(dtype))

    def starting_point(self, source: torch.Generator) -> TrainPoint:
        """Return a point with every frame on Stiefel: Haar frames, and an equal spectrum of fitting size."""
        frames = [haar_frame(f.rows, f.columns, dtype=torch.float64, generator=source) for f in self.shape.frames]
        size = float(np.sqrt(np.mean(self._values**2)))
        return SpectralTensorTrain(self.shape).from_frames(frames, torch.full((len(self._values),), size).double())

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise."""
        if geometry.redundant or is_embedded(geometry):
            return True
        return any(self.shape.is_gauge_fixed(frame, identity_spectrum=False) for frame in self.shape.frames)

    @cached_property
    def planted(self) -> Tensor:
        """The weight that is sought but for the noise: Haar frames, singular values from 1 to 1/condition."""
        source = generator_of_stream(self.seed, Stream.DATA)
        frames = [haar_frame(f.rows, f.columns, dtype=torch.float64, generator=source) for f in self.shape.frames]
        train = SpectralTensorTrain(self.shape)
        return train.to_matrix(train.from_frames(frames, torch.from_numpy(self._values)))

    @property
    def _values(self) -> np.ndarray:
        return np.geomspace(1, 1 / self.condition, self.shape.center_rank)


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
    summary = "minimize ½‖W − A‖² over trains W; the optimum is A’s truncated singular value decomposition"
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
