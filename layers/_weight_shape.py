"""A layer's weight as a matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from ..manifolds import require_flag, require_instance, require_integer, require_shape, require_tensor


@final
@dataclass(frozen=True)
class WeightShape:
    """How torch's weight of a layer becomes a matrix ``(rows, columns)`` and back (Obukhov et al. 2021, Sec. 2).

    A linear or embedding weight is a matrix already; a convolution's (C_out, C_in/groups, k…) is flattened to
    C_out × (C_in/groups)·Πk; a transposed convolution's (C_in, C_out/groups, k…) first has its two channel axes
    swapped within each group.

    Attributes:
        shape: the shape of torch's weight.
        groups: number of groups of a convolution.
        transposed: whether the convolution is a transposed one.
        stacked: how many matrices of equal size stand below each other in a linear weight.

    Raises:
        TypeError: the shape is no tuple of integers, the groups no integer, or ``transposed`` neither True nor False.
        ValueError: there are fewer than two dimensions, or the groups do not divide the channels, or the stacked
            matrices the rows.
    """

    shape: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    stacked: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", require_shape("shape", self.shape, 2))
        require_integer("groups", self.groups, least=1)
        require_flag("transposed", self.transposed)
        require_integer("stacked", self.stacked, least=1)
        if self.shape[0] % self.stacked:
            raise ValueError(f"stacked must divide the {self.shape[0]} rows of shape, got {self.stacked}")
        if self.shape[0] % self.groups:
            raise ValueError(f"groups must divide the {self.shape[0]} channels of shape, got {self.groups}")

    @staticmethod
    def of(module: nn.Module) -> WeightShape:
        """Return the weight shape of a torch.nn layer.

        Raises:
            TypeError: it has no weight.
        """
        weight = getattr(module, "weight", None)
        require_instance(
            "the weight of module", weight, Tensor, "a tensor: give a linear, convolution or embedding layer"
        )
        require_tensor("the weight of module", weight)
        assert isinstance(weight, Tensor)
        return WeightShape(tuple(weight.shape), getattr(module, "groups", 1), getattr(module, "transposed", False))

    @property
    def rows(self) -> int:
        """Number of rows, the output channels."""
        return self.shape[1] * self.groups if self.transposed else self.shape[0]

    @property
    def column_channels(self) -> int:
        """Number of input channels of one group."""
        return self.shape[0] // self.groups if self.transposed else self.shape[1]

    @property
    def kernel(self) -> tuple[int, ...]:
        """Size of the filter, empty where there is none."""
        return self.shape[2:]

    @property
    def filter_size(self) -> int:
        """Number of the filter's entries."""
        return math.prod(self.kernel)

    @property
    def columns(self) -> int:
        """Number of columns, (C_in/groups)·Πk."""
        return self.column_channels * self.filter_size

    def to_matrix(self, weight: Tensor) -> Tensor:
        """Return the matrix ``(rows, columns)`` of torch's weight."""
        _require_shape("weight", weight, self.shape)
        if self.transposed:
            weight = weight.unflatten(0, (self.groups, -1)).transpose(1, 2)
        return weight.reshape(self.rows, self.columns)

    def to_weight(self, matrix: Tensor) -> Tensor:
        """Return torch's weight of the matrix: the inverse of :meth:`to_matrix`."""
        _require_shape("matrix", matrix, (self.rows, self.columns))
        if self.transposed:
            blocks = matrix.reshape(self.groups, self.rows // self.groups, self.column_channels, *self.kernel)
            matrix = blocks.transpose(1, 2)
        return matrix.reshape(self.shape)


def _require_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    require_tensor(name, value)
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}; reshape it")
