"""One tensor train for the matrices of all layers: what LoRTA's CP tensor is generalized by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from ..layers import WeightShape
from ..manifolds import (
    Free,
    Geometry,
    Riemannian,
    SpectralTensorTrain,
    TrainShape,
    require_instance,
    require_integer,
)
from ..optim import RiemannianAdam
from ._adapter import Adapter, FrozenWeight, trained_parameters
from ._change import Change, LowRank
from ._lorta import require_tied
from ._register import register_adapter
from ._sttp import Start, Zero, require_start_and_scale, spectral_change


@final
class TiedRows(LowRank):
    """Some rows of a change that other weights have the others of."""

    def __init__(self, whole: LowRank, start: int, stop: int) -> None:
        super().__init__()
        self.whole, self.rows = whole, slice(start, stop)

    @property
    def dimension(self) -> int:
        """That of the whole."""
        return self.whole.dimension

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the rows of L, and R."""
        left, right = self.whole.factors()
        return left[self.rows], right


@register_adapter
@final
@dataclass(frozen=True)
class TiedSTTP(Adapter):
    """ΔW of all matrices of all layers as one spectral train of the modes layers, matrices, heads, d_h | columns.

    A tensor of CP rank r, as LoRTA trains it, is such a train of rank r, whatever its factors. The train has a spectrum
    and frames, so that its best approximations exist and every optimizer of frames serves. Modes of 1 are left out. The
    weights must have one shape, and come layer by layer with M in each: choose them by ``only=``.

    Attributes:
        rank: bound on the ranks of all bonds.
        heads: H, which divides the rows of the weights.
        matrices: M, the number of weights in a layer.
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        start: ``Zero()``, ``Offset()`` or ``Weights()``, the last from all the weights below each other.
        scale: as for :class:`~sttp.adapters.STTPAdapter`, with the rows of all weights together.
    """

    rank: int
    heads: int
    matrices: int
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)
    scale: float | None = None

    def __post_init__(self) -> None:
        for name in ("rank", "heads", "matrices"):
            require_integer(name, getattr(self, name), least=1)
        require_instance("frames", self.frames, Geometry, "Riemannian() or Householder()")
        require_start_and_scale(self.start, self.scale)

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return RiemannianAdam."""
        return RiemannianAdam(trained_parameters(network), lr=lr)

    def changes(self, weights: Sequence[FrozenWeight], generator: torch.Generator | None) -> list[Change]:
        """Return the rows of one change."""
        layers = require_tied(weights, self.heads, self.matrices)
        rows, columns = weights[0].rows, weights[0].columns
        modes = layers, self.matrices, self.heads, rows // self.heads
        train = TrainShape(tuple(mode for mode in modes if mode > 1) or (1,), (columns,), self.rank)
        stacked = torch.cat([weight.matrix for weight in weights])
        names = tuple(name for weight in weights for name in weight.names)
        whole = FrozenWeight(names, WeightShape(tuple(stacked.shape)), stacked)
        manifold = SpectralTensorTrain(train, self.frames, Free())
        change = spectral_change(manifold, self.start, self.scale, whole, generator)
        assert isinstance(change, LowRank)
        return [TiedRows(change, k * rows, (k + 1) * rows) for k in range(len(weights))]
