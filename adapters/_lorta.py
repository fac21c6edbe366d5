"""LoRTA: one CP tensor for the matrices of all layers (Hounie et al., arXiv 2410.04060)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..manifolds import require_integer, require_number
from ._adapter import Adapter, FrozenWeight
from ._change import Change, LowRank
from ._lora import uniform_like
from ._register import register_adapter


@final
class TiedTensor(nn.Module):
    """The factors of the tensor, which all of its changes share."""

    def __init__(self, inputs: Tensor, outputs: Tensor, heads: Tensor, matrices: Tensor, layers: Tensor) -> None:
        super().__init__()
        self.inputs, self.outputs, self.heads = nn.Parameter(inputs), nn.Parameter(outputs), nn.Parameter(heads)
        self.matrices, self.layers = nn.Parameter(matrices), nn.Parameter(layers)


@final
class TiedSlice(LowRank):
    """ΔW[h·d_h + e, i] = scale Σ_ρ A[i,ρ] B[e,ρ] C_h[h,ρ] C_m[m,ρ] C_ℓ[ℓ,ρ] of one matrix m in one layer ℓ."""

    def __init__(self, tensor: TiedTensor, layer: int, matrix: int, scale: float) -> None:
        super().__init__()
        self.tensor, self.layer, self.matrix, self.scale = tensor, layer, matrix, scale

    @property
    def dimension(self) -> int:
        """That of the whole tensor: a factor of each term moves freely among its five vectors.

        The matrices below each other have rank r, whose set may be a smaller one, as for a single matrix of one head.
        """
        tensor = self.tensor
        columns, rank = tensor.inputs.shape
        rows = math.prod(len(part) for part in (tensor.outputs, tensor.heads, tensor.matrices, tensor.layers))
        most = min(rank, rows, columns)
        return min(self.stored - 4 * rank, most * (rows + columns - most))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the outputs' factor, of all heads below each other, and A."""
        tensor = self.tensor
        here = self.scale * tensor.matrices[self.matrix] * tensor.layers[self.layer]
        rows = tensor.heads.unsqueeze(1) * tensor.outputs  # (heads, d_h, r)
        return rows.flatten(0, 1) * here, tensor.inputs


@register_adapter
@final
@dataclass(frozen=True)
class LoRTA(Adapter):
    """ΔW of all matrices of all layers as one tensor of CP rank r; B = 0 at the start, when only B has a gradient.

    It stores r(d + d_h + H + M + L) numbers. Heads belong to the outputs, as in queries, keys and values. The weights
    must have one shape, and come layer by layer with M in each: choose them by ``only=``.

    Attributes:
        rank: r.
        heads: H, which divides the rows of the weights.
        matrices: M, the number of weights in a layer.
        alpha: α of the scale α/r, by default r.
    """

    rank: int
    heads: int
    matrices: int
    alpha: float | None = None

    def __post_init__(self) -> None:
        for name in ("rank", "heads", "matrices"):
            require_integer(name, getattr(self, name), least=1)
        if self.alpha is not None:
            require_number("alpha", self.alpha, above=0)

    def changes(self, weights: Sequence[FrozenWeight], generator: torch.Generator | None) -> list[Change]:
        """Return the slices of one tensor."""
        layers = require_tied(weights, self.heads, self.matrices)
        first = weights[0]

        def drawn(size: int) -> Tensor:
            return uniform_like(first.matrix, size, self.rank, 1 / math.sqrt(self.rank), generator)

        outputs = first.matrix.new_zeros(first.rows // self.heads, self.rank)
        tensor = TiedTensor(drawn(first.columns), outputs, drawn(self.heads), drawn(self.matrices), drawn(layers))
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        return [TiedSlice(tensor, *divmod(index, self.matrices), scale) for index in range(len(weights))]


def require_tied(weights: Sequence[FrozenWeight], heads: int, matrices: int) -> int:
    """Return the number of layers of weights that are to be one tensor.

    Raises:
        ValueError: they differ in shape, or matrices or heads do not divide them.
    """
    shapes = sorted({(weight.rows, weight.columns) for weight in weights})
    if len(shapes) > 1:
        raise ValueError(f"only= must choose weights of one shape to be tied, got {shapes}; adapt each shape by itself")
    if len(weights) % matrices:
        raise ValueError(f"matrices must divide the {len(weights)} weights, got {matrices}")
    if weights[0].rows % heads:
        raise ValueError(f"heads must divide the {weights[0].rows} rows of the weights, got {heads}")
    return len(weights) // matrices
