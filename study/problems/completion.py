"""Completion of a train from some of its entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from ..random_streams import Stream, generator_of_stream
from .measured_train import MeasuredTrain


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
