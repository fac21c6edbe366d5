"""Spectral tensor-train adapters: ΔW = U diag(s) Vᵀ with frames that are trained on their manifolds."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor

from ..layers import STTP, SVDP, Haar, Specification, SpectralWeight
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
from ._adapter import FrozenWeight, WeightAdapter
from ._change import Change, LowRank
from ._register import register_adapter, register_part
from ._since_start import SinceStart


@final
class SpectralChange(LowRank):
    """ΔW = U diag(s) Vᵀ, a :class:`~sttp.layers.SpectralWeight`: frames of all layers are evaluated together."""

    def __init__(self, spectral: SpectralWeight) -> None:
        super().__init__()
        self.spectral = spectral

    @property
    def dimension(self) -> int:
        """DOF(ΔW) (Obukhov et al. 2021, Eq. 9)."""
        return self.spectral.manifold.degrees_of_freedom

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return U diag(s) and V."""
        left, values, right = self.spectral.factors()
        return left * values, right


class Start(abc.ABC):
    """Where the change of a spectral adapter starts. The base is reproduced at each of them."""

    @abc.abstractmethod
    def change(self, spectral: SpectralWeight, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Set a fresh weight to its start and return the change with it."""


@register_part
@final
@dataclass(frozen=True)
class Zero(Start):
    """Haar frames and s = 0: at first only s has a gradient, and the frames move from the second step on."""

    def change(self, spectral: SpectralWeight, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return U diag(s) Vᵀ with s = 0."""
        spectral.initialize(HAAR, generator)
        with torch.no_grad():
            _values(spectral).zero_()
        return SpectralChange(spectral)


@register_part
@final
@dataclass(frozen=True)
class Offset(Start):
    """Haar frames and s from ``scale`` down to half of it, and what that is at the start is taken off again.

    Every frame has a gradient at once. The spread of s keeps the pairs at the centre apart.
    """

    scale: float = 0.1

    def __post_init__(self) -> None:
        require_number("scale", self.scale, above=0)

    def change(self, spectral: SpectralWeight, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change since the start."""
        spectral.initialize(HAAR, generator)
        with torch.no_grad():
            values = _values(spectral)
            values.copy_(torch.linspace(self.scale, self.scale / 2, len(values), device=values.device))
        return SinceStart(SpectralChange(spectral))


@register_part
@final
@dataclass(frozen=True)
class Weights(Start):
    """The TT-SVD of W0, which is taken off again: PiSSA's idea (arXiv 2404.02948) for a train."""

    def change(self, spectral: SpectralWeight, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change since the start."""
        spectral.set_point(spectral.manifold.from_matrix(weight.matrix).point)
        return SinceStart(SpectralChange(spectral))


HAAR: Final = Haar()


@register_adapter
@final
@dataclass(frozen=True)
class STTPAdapter(WeightAdapter):
    """ΔW = U diag(s) Vᵀ with U and V tensor trains of frames (spectrum ``Free()``).

    Attributes:
        rank: bound on the ranks, one or one for each bond.
        modes: as for :class:`~sttp.layers.STTP`: None, ``"auto"``, ``"balanced"``, or (row modes, column modes).
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        start: ``Zero()``, ``Offset()`` or ``Weights()``.

    Raises:
        TypeError: an attribute is not of its kind.
        ValueError: the rank is below 1, or the modes are none.
    """

    rank: int | tuple[int, ...]
    modes: str | tuple[tuple[int, ...], tuple[int, ...]] | None = None
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)

    def __post_init__(self) -> None:
        _require_start(self.start)
        self.specification()

    def specification(self) -> STTP:
        """Return that of the layers whose weights are such changes."""
        return STTP(self.rank, self.frames, Free(), HAAR, modes=self.modes)  # type: ignore[arg-type]

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        if isinstance(self.modes, tuple):
            _require_modes(self.modes, weight)
        return self.start.change(_spectral(self.specification(), weight), weight, generator)


@register_adapter
@final
@dataclass(frozen=True)
class SVDPAdapter(WeightAdapter):
    """ΔW = U diag(s) Vᵀ with a frame each for U and V: a train with one mode a side.

    Attributes:
        rank: the rank.
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        start: ``Zero()``, ``Offset()`` or ``Weights()``.
    """

    rank: int
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)

    def __post_init__(self) -> None:
        _require_start(self.start)
        self.specification()

    def specification(self) -> SVDP:
        """Return that of the layers whose weights are such changes."""
        return SVDP(self.rank, self.frames, Free(), HAAR)

    def change(self, weight: FrozenWeight, generator: torch.Generator | None) -> Change:
        """Return the change of one weight."""
        return self.start.change(_spectral(self.specification(), weight), weight, generator)


def _require_modes(modes: tuple[tuple[int, ...], ...], weight: FrozenWeight) -> None:
    sizes = weight.rows, weight.columns
    if tuple(map(math.prod, modes)) != sizes:
        fitting = [(balanced_modes(weight.rows), balanced_modes(weight.columns))]
        fitting.append((prime_modes(weight.rows), prime_modes(weight.columns)))
        raise ValueError(
            f"modes must multiply to the {sizes[0]} rows and {sizes[1]} columns of the weight, got {modes}; take "
            f"{' or '.join(map(str, dict.fromkeys(fitting)))}, or None"
        )


def _spectral(spec: Specification, weight: FrozenWeight) -> SpectralWeight:
    manifold: SpectralTensorTrain = spec.manifold(weight.shape)
    return SpectralWeight(manifold, weight.shape, weight.matrix.dtype, weight.matrix.device)


def _values(spectral: SpectralWeight) -> Tensor:
    assert spectral.spectrum is not None  # Free() has one
    return spectral.spectrum


def _require_start(start: object) -> None:
    require_instance("start", start, Start, "an object such as Zero(), Offset() or Weights()")
