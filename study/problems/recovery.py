"""Recovery of a train from linear measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from ..random_streams import Stream, generator_of_stream
from .measured_train import MeasuredTrain


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
