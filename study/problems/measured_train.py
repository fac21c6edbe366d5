"""A train that is known by some numbers alone: recovery from linear measurements, completion from entries."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from ...manifolds import SpectralTensorTrain, TrainPoint, require_number
from ..random_streams import Stream, generator_of_stream
from .train_least_squares import least_residual
from .train_problem import TrainProblem

# Perturbation of the first guess, relative to its norm, by which the starts of a problem differ.
_SPREAD = 0.3


@dataclass(frozen=True)
class MeasuredTrain(TrainProblem):
    """Minimize ½‖𝒜(W) − b‖² over the weights W of a train, b = 𝒜(a planted train) + noise.

    Starts are the train nearest (by TT-SVD) to 𝒜*(b), the usual first guess, to which Gaussian noise of 0.3 of its
    norm is added. Without noise the optimum is 0. With noise it is the minimum that scipy's least squares over the
    cores reach from the planted train: the global one wherever there are measurements enough, which nobody can prove
    for a given instance. Gaps are relative to ½‖b‖².

    Attributes:
        oversampling: number of measurements, in degrees of freedom of the weight.

    Raises:
        TypeError: the oversampling is no number.
        ValueError: the oversampling is below 1, or asks for more entries than there are.
    """

    oversampling: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("oversampling", self.oversampling, least=1)

    @property
    def measurements(self) -> int:
        """Number of measurements."""
        return round(self.oversampling * self.shape.degrees_of_freedom())

    @abc.abstractmethod
    def measure(self, value: Tensor) -> Tensor:
        """Return 𝒜(W) ``(..., measurements)`` of matrices ``(..., rows, columns)``."""

    @abc.abstractmethod
    def adjoint(self, measured: Tensor) -> Tensor:
        """Return 𝒜*(b) ``(rows, columns)``, scaled so that its mean over all 𝒜 of one size is W where b = 𝒜(W)."""

    def cost_of(self, value: Tensor) -> Tensor:
        """Return ½‖𝒜(W) − b‖² of matrices ``(..., rows, columns)``."""
        return (self.measure(value) - self._measured.to(value)).square().sum(dim=-1) / 2

    def starting_point(self, source: torch.Generator) -> TrainPoint:
        """Return the perturbed first guess."""
        guess = self.adjoint(self._measured)
        noise = torch.randn(guess.shape, dtype=guess.dtype, generator=source)
        guess = guess + _SPREAD * torch.linalg.matrix_norm(guess) / torch.linalg.matrix_norm(noise) * noise
        return SpectralTensorTrain(self.shape).from_matrix(guess).point

    @cached_property
    def optimum(self) -> float:
        """0 without noise, else what scipy's least squares reach from the planted train."""
        if not self.noise:
            return 0.0
        size = self.shape.rows * self.shape.columns
        basis = torch.eye(size, dtype=torch.float64).reshape(size, self.shape.rows, self.shape.columns)
        operator = self.measure(basis).mT.numpy()
        return least_residual(self.shape, self.planted.numpy(), operator, self._measured.numpy())

    @cached_property
    def scale(self) -> float:
        """Half the squared norm of b."""
        return float(self._measured.square().sum()) / 2

    @cached_property
    def _measured(self) -> Tensor:
        clean = self.measure(self.planted)
        source = generator_of_stream(self.seed, Stream.NOISE)
        noise = torch.randn(clean.shape, dtype=clean.dtype, generator=source)
        return clean + self.noise * clean.norm() / noise.norm() * noise


@final
@dataclass(frozen=True)
class Recovery(MeasuredTrain):
    """Find a train from the inner products ⟨A_k, W⟩ with m Gaussian matrices A_k of variance 1/m."""

    kind: ClassVar[str] = "recovery"
    summary: ClassVar[str] = "minimize ½‖𝒜(W) − b‖² over trains W, b being random linear measurements of one"

    def measure(self, value: Tensor) -> Tensor:
        """Return ⟨A_k, W⟩ of matrices ``(..., rows, columns)``."""
        return (value.flatten(-2).unsqueeze(-2) @ self._operator.to(value).mT).squeeze(-2)

    def adjoint(self, measured: Tensor) -> Tensor:
        """Return Σ b_k A_k."""
        return (measured @ self._operator).reshape(self.shape.rows, self.shape.columns)

    @cached_property
    def _operator(self) -> Tensor:
        size = self.shape.rows * self.shape.columns
        source = generator_of_stream(self.seed, Stream.MEASUREMENT)
        operator = torch.randn(self.measurements, size, dtype=torch.float64, generator=source)
        return operator / math.sqrt(self.measurements)


@final
@dataclass(frozen=True)
class Completion(MeasuredTrain):
    """Find a train from entries of W at random places, none of them twice.

    Raises:
        ValueError: there are fewer entries than asked for.
    """

    kind: ClassVar[str] = "completion"
    summary: ClassVar[str] = "minimize ½‖𝒜(W) − b‖² over trains W, b being some entries of one"

    def __post_init__(self) -> None:
        super().__post_init__()
        entries = self.shape.rows * self.shape.columns
        if self.measurements > entries:
            raise ValueError(
                f"oversampling must leave at most the {entries} entries of the matrix, got {self.oversampling}, which "
                f"asks for {self.measurements}; give less, or a larger matrix"
            )

    def measure(self, value: Tensor) -> Tensor:
        """Return the entries of matrices ``(..., rows, columns)`` that are known."""
        return value.flatten(-2).index_select(-1, self._places)

    def adjoint(self, measured: Tensor) -> Tensor:
        """Return the known entries over their share of all, and zeros elsewhere."""
        rows, columns = self.shape.rows, self.shape.columns
        filled = measured.new_zeros(rows * columns).index_copy(0, self._places, measured)
        return filled.reshape(rows, columns) * (rows * columns / self.measurements)

    @cached_property
    def _places(self) -> Tensor:
        source = generator_of_stream(self.seed, Stream.MEASUREMENT)
        return torch.randperm(self.shape.rows * self.shape.columns, generator=source)[: self.measurements]
