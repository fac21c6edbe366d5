"""A train that is known by some numbers alone: recovery from linear measurements, completion from entries."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import optimize  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from ...manifolds import SpectralTensorTrain, TrainPoint, TrainShape, require_number
from ..random_streams import Stream, generator_of_stream
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
        return _least_residual(self.shape, self.planted.numpy(), operator, self._measured.numpy())

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
    summary = "minimize ½‖𝒜(W) − b‖² over trains W, b being random linear measurements of one"

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
    summary = "minimize ½‖𝒜(W) − b‖² over trains W, b being some entries of one"

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


def _least_residual(shape: TrainShape, start: np.ndarray, operator: np.ndarray, measured: np.ndarray) -> float:
    """Return the least ½‖Φ vec(W) − b‖² that a trust-region method over the cores reaches from a start.

    The cores are unconstrained, so neither frames nor retractions nor gradients of this package are used.

    Args:
        shape: modes and ranks.
        start: W of these ranks, ``(rows, columns)``.
        operator: Φ ``(m, rows · columns)``.
        measured: b ``(m,)``.
    """
    modes = shape.row_modes + shape.column_modes
    sizes = [(shape.ranks[k], mode, shape.ranks[k + 1]) for k, mode in enumerate(modes)]
    ends = np.cumsum([math.prod(size) for size in sizes])[:-1]

    def cores(vector: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(size) for part, size in zip(np.split(vector, ends), sizes, strict=True)]

    def residual(vector: np.ndarray) -> np.ndarray:
        return operator @ _contracted(cores(vector)).ravel() - measured

    def jacobian(vector: np.ndarray) -> np.ndarray:
        # The tensor is linear in each core: the derivative is what stands left of it times what stands right.
        found = cores(vector)
        blocks = []
        for k, (before, mode, after) in enumerate(sizes):
            left = _contracted(found[:k]).reshape(-1, before)
            right = _contracted(found[k + 1 :]).reshape(after, -1)
            block = np.einsum("xa,ij,by->xiyajb", left, np.eye(mode), right)
            blocks.append(block.reshape(-1, before * mode * after))
        return operator @ np.concatenate(blocks, axis=1)

    vector = np.concatenate([core.ravel() for core in _decomposed(start, sizes)])
    tight = 1e-15
    found = optimize.least_squares(residual, vector, jacobian, method="trf", ftol=tight, xtol=tight, gtol=tight)
    return float(found.cost)


def _contracted(cores: list[np.ndarray]) -> np.ndarray:
    """Return the sum over the bonds between cores, ``(first bond, modes …, last bond)``; 1 for none."""
    tensor = np.ones((1,))
    for index, core in enumerate(cores):
        tensor = core if index == 0 else np.tensordot(tensor, core, axes=1)
    return tensor


def _decomposed(matrix: np.ndarray, sizes: list[tuple[int, int, int]]) -> list[np.ndarray]:
    """Return cores of a tensor that has the ranks exactly, by one singular value decomposition a bond."""
    rest, cores = matrix, []
    for before, mode, after in sizes[:-1]:
        left, values, right = np.linalg.svd(rest.reshape(before * mode, -1), full_matrices=False)
        cores.append(left[:, :after].reshape(before, mode, after))
        rest = values[:after, None] * right[:after]
    return [*cores, rest.reshape(sizes[-1])]
