"""Spectral tensor-train adapters: ΔW = c U diag(s) Vᵀ with frames that are trained on their manifolds."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor, nn

from ..layers import STTP, SVDP, Haar, SpectralWeight
from ..manifolds import (
    Free,
    Geometry,
    Riemannian,
    SpectralTensorTrain,
    balanced_modes,
    prime_modes,
    require_instance,
    require_number,
)
from ..optim import RiemannianAdam
from ._adapter import FrozenWeight, WeightAdapter, trained_parameters
from ._change import Change, LowRank
from ._register import register_adapter, register_part
from ._since_start import SinceStart


@final
class SpectralChange(LowRank):
    """ΔW = c U diag(s) Vᵀ, c times a :class:`~sttp.layers.SpectralWeight`, whose frames of all layers are evaluated
    together.
    """

    def __init__(self, spectral: SpectralWeight, scale: float) -> None:
        super().__init__()
        self.spectral, self.scale = spectral, scale

    @property
    def dimension(self) -> int:
        """DOF(ΔW) (Obukhov et al. 2021, Eq. 9)."""
        return self.spectral.manifold.degrees_of_freedom

    @property
    def has_frames(self) -> bool:
        """True: in any geometry."""
        return True

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return c U diag(s) and V."""
        left, values, right = self.spectral.factors()
        return left * (self.scale * values), right


class Start(abc.ABC):
    """Where the change of a spectral adapter starts. The base is reproduced at each of them."""

    @abc.abstractmethod
    def change(
        self, spectral: SpectralWeight, scale: float, weight: FrozenWeight, generator: torch.Generator | None
    ) -> Change:
        """Set a fresh weight to its start and return the change with it, ``scale`` times the weight."""


@register_part
@final
@dataclass(frozen=True)
class Zero(Start):
    """Haar frames and s = 0: at first only s has a gradient, and the frames move from the second step on."""

    def change(
        self, spectral: SpectralWeight, scale: float, weight: FrozenWeight, generator: torch.Generator | None
    ) -> Change:
        """Return the change with s = 0."""
        spectral.initialize(HAAR, generator)
        with torch.no_grad():
            _values(spectral).zero_()
        return SpectralChange(spectral, scale)


@register_part
@final
@dataclass(frozen=True)
class Offset(Start):
    """Haar frames and singular values of ΔW from ``size`` down to half of it, which is taken off again.

    Every frame has a gradient at once. The spread keeps the pairs at the centre apart.
    """

    size: float = 0.1

    def __post_init__(self) -> None:
        require_number("size", self.size, above=0)

    def change(
        self, spectral: SpectralWeight, scale: float, weight: FrozenWeight, generator: torch.Generator | None
    ) -> Change:
        """Return the change since the start."""
        spectral.initialize(HAAR, generator)
        with torch.no_grad():
            values = _values(spectral)
            values.copy_(torch.linspace(self.size, self.size / 2, len(values), device=values.device) / scale)
        return SinceStart(SpectralChange(spectral, scale))


@register_part
@final
@dataclass(frozen=True)
class Weights(Start):
    """The TT-SVD of W0, which is taken off again: PiSSA's idea (arXiv 2404.02948) for a train."""

    def change(
        self, spectral: SpectralWeight, scale: float, weight: FrozenWeight, generator: torch.Generator | None
    ) -> Change:
        """Return the change since the start."""
        spectral.set_point(spectral.manifold.from_matrix(weight.matrix / scale).point)
        return SinceStart(SpectralChange(spectral, scale))


HAAR: Final = Haar()


@register_adapter
@final
@dataclass(frozen=True)
class STTPAdapter(WeightAdapter):
    """ΔW = c U diag(s) Vᵀ with U and V tensor trains of frames (spectrum ``Free()``).

    Attributes:
        rank: bound on the ranks, one or one for each bond.
        modes: as for :class:`~sttp.layers.STTP`: None, ``"auto"``, ``"balanced"``, or (row modes, column modes).
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        start: ``Zero()``, ``Offset()`` or ``Weights()``.
        scale: c; None for √rows of each weight, with which the first steps move W about as far as those of LoRA with
            α = r at the same learning rate.

    Raises:
        TypeError: an attribute is not of its kind.
        ValueError: the rank is below 1, or the modes are none.
    """

    rank: int | tuple[int, ...]
    modes: str | tuple[tuple[int, ...], tuple[int, ...]] | None = None
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)
    scale: float | None = None

    def __post_init__(self) -> None:
        require_start_and_scale(self.start, self.scale)
        self.specification()

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return RiemannianAdam."""
        return RiemannianAdam(trained_parameters(network), lr=lr)

    def specification(self) -> STTP:
        """Return that of the layers whose weights are such changes."""
        return STTP(self.rank, self.frames, Free(), HAAR, modes=self.modes)  # type: ignore[arg-type]

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        if isinstance(self.modes, tuple):
            _require_modes(self.modes, weight)
        return spectral_change(self.specification().manifold(weight.shape), self.start, self.scale, weight, generator)


@register_adapter
@final
@dataclass(frozen=True)
class SVDPAdapter(WeightAdapter):
    """ΔW = c U diag(s) Vᵀ with a frame each for U and V: a train with one mode a side.

    Attributes:
        rank: the rank.
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        start: ``Zero()``, ``Offset()`` or ``Weights()``.
        scale: c, as for :class:`STTPAdapter`.
    """

    rank: int
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)
    scale: float | None = None

    def __post_init__(self) -> None:
        require_start_and_scale(self.start, self.scale)
        self.specification()

    def optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Return RiemannianAdam."""
        return RiemannianAdam(trained_parameters(network), lr=lr)

    def specification(self) -> SVDP:
        """Return that of the layers whose weights are such changes."""
        return SVDP(self.rank, self.frames, Free(), HAAR)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        return spectral_change(self.specification().manifold(weight.shape), self.start, self.scale, weight, generator)


def _require_modes(modes: tuple[tuple[int, ...], ...], weight: FrozenWeight) -> None:
    sizes = weight.rows, weight.columns
    if tuple(map(math.prod, modes)) != sizes:
        fitting = [(balanced_modes(weight.rows), balanced_modes(weight.columns))]
        fitting.append((prime_modes(weight.rows), prime_modes(weight.columns)))
        raise ValueError(
            f"modes must multiply to the {sizes[0]} rows and {sizes[1]} columns of the weight, got {modes}; take "
            f"{' or '.join(map(str, dict.fromkeys(fitting)))}, or None"
        )


def spectral_change(
    manifold: SpectralTensorTrain,
    start: Start,
    scale: float | None,
    weight: FrozenWeight,
    generator: torch.Generator | None,
) -> Change:
    """Return the change of a weight by a train at its start; a scale of None is √rows."""
    spectral = SpectralWeight(manifold, weight.shape, weight.matrix.dtype, weight.matrix.device)
    return start.change(spectral, math.sqrt(weight.rows) if scale is None else scale, weight, generator)


def _values(spectral: SpectralWeight) -> Tensor:
    assert spectral.spectrum is not None  # Free() has one
    return spectral.spectrum


def require_start_and_scale(start: object, scale: object) -> None:
    """Refuse what is no start, or a scale that is not above 0.

    Raises:
        TypeError, ValueError: as said.
    """
    require_instance("start", start, Start, "an object such as Zero(), Offset() or Weights()")
    if scale is not None:
        require_number("scale", scale, above=0)
