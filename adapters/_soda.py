"""SODA: spectral orthogonal decomposition adaptation, SVD form (Zhang et al., arXiv 2405.21050)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..layers import manifold_parameter
from ..manifolds import Cayley, Stiefel, balanced_modes, require_integer, require_number
from ..optim import MomentumStiefelAdam
from ._adapter import FrozenWeight, WeightAdapter, trained_parameters
from ._change import Change, Product, cast_back, cast_like
from ._register import register_adapter
from ._rotations import turned_dimension


@final
class TurnedSpectrum(Change):
    """W = U diag(max(σ + δ, 0)) Vᵀ Rᵀ with R = Q_1 ⊗ ⋯ ⊗ Q_k, each Q_j square and orthogonal.

    R is never formed: x R is x as a tensor of its modes, each multiplied by its factor.
    """

    left: Tensor
    values: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, modes: tuple[int, ...], offset: float) -> None:
        super().__init__()
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        # Made of W0 anew wherever they are needed, and no part of what is saved.
        for name, tensor in (("left", left), ("values", values), ("right", right.mT.contiguous())):
            self.register_buffer(name, tensor, persistent=False)
        self.delta_values = nn.Parameter(torch.full_like(values, offset))
        manifold = Stiefel(metric="canonical", retraction=Cayley())
        eyes = [torch.eye(mode, dtype=weight.dtype, device=weight.device) for mode in modes]
        self.rotations = nn.ParameterList([manifold_parameter(eye, manifold) for eye in eyes])

    @property
    def dimension(self) -> int:
        """Σ n_j(n_j − 1)/2 + min(rows, columns); less where there are too few rows for all rotations to count."""
        rotations = sum(turned_dimension(len(Q), len(Q)) for Q in self.rotations)
        return min(rotations, turned_dimension(*self.right.mT.shape)) + len(self.values)

    def spectrum(self) -> Tensor:
        """Return max(σ + δ, 0): the singular values of W."""
        return torch.relu(self.values + self.delta_values)

    def merged(self, weight: Tensor) -> Tensor:
        """Return W; the weight that is given counts by its precision alone, since U, σ, V are its."""
        return self._turned((self.left * self.spectrum()) @ self.right.mT, transposed=True).to(weight.dtype)

    def forward(self, vectors: Tensor, base: Product) -> Tensor:
        """Return x R V diag(max(σ + δ, 0)) Uᵀ, without the base."""
        turned = self._turned(cast_like(vectors, self), transposed=False)
        return cast_back(((turned @ self.right) * self.spectrum()) @ self.left.mT, vectors)

    def _turned(self, vectors: Tensor, transposed: bool) -> Tensor:
        """Return x R, or x Rᵀ, for x of shape ``(..., columns)``."""
        tensor = vectors.unflatten(-1, [len(Q) for Q in self.rotations])
        first = vectors.dim() - 1
        for axis, Q in enumerate(self.rotations, first):
            factor = Q.mT if transposed else Q
            tensor = (tensor.movedim(axis, -1) @ factor).movedim(-1, axis)
        return tensor.flatten(first)


@register_adapter
@final
@dataclass(frozen=True)
class SODA(WeightAdapter):
    """The singular values of W0 moved, and its inputs rotated by a Kronecker product of small rotations.

    It stores Σ n_j² + min(rows, columns) numbers, and beside them, made of W0, its SVD in memory. As published the
    spectrum moves by AdamW and the rotations by ``MomentumStiefelAdam`` of :mod:`sttp.optim`. A singular value at 0 has
    no gradient.

    Attributes:
        modes: n_1, …, which multiply to the columns of each weight; by default modes of about equal size near 8.
        offset: δ at the start. The published 1e-3 is not the base; 0, the default, is.
    """

    modes: tuple[int, ...] | None = None
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.modes is not None:
            for mode in self.modes:
                require_integer("each mode of modes", mode, least=1)
        require_number("offset", self.offset)

    @property
    def defect(self) -> str | None:
        """Why the published start is not the base."""
        return f"all singular values start {self.offset:g} larger" if self.offset else None

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return momentum Stiefel Adam, which takes torch's Adam for δ, in place of AdamW with its published 1e-4."""
        return MomentumStiefelAdam(trained_parameters(network), lr=lr)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        modes = balanced_modes(weight.columns) if self.modes is None else tuple(self.modes)
        if math.prod(modes) != weight.columns:
            raise ValueError(
                f"modes must multiply to the {weight.columns} columns, got {modes}; take "
                f"{balanced_modes(weight.columns)}"
            )
        return TurnedSpectrum(weight.matrix, modes, self.offset)
