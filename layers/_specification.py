"""What a user asks of a layer's weight: the paper's two parameterizations."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, final, get_args

from ..manifolds import (
    Free,
    Geometry,
    Riemannian,
    SpectralTensorTrain,
    Spectrum,
    TrainShape,
    described,
    prime_modes,
    require_choice,
    require_flag,
    require_instance,
    require_rank,
)
from ._initialization import Initialization, NoisyIdentity
from ._plan import Forward, require_forward
from ._weight_shape import WeightShape

Attention = Literal["separate", "joint"]
ATTENTION: Final = get_args(Attention)
Modes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Specification(abc.ABC):
    """A parameterization of weights: a rank, a geometry of the frames, a spectrum, and how fresh frames are drawn.

    Attributes:
        rank: bound on the ranks; each layer takes as much of it as its shape allows.
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        spectrum: ``Free()``, ``Lipschitz()`` or ``Identity()``.
        initialization: ``NoisyIdentity()``, ``Haar()`` or ``TruncatedIdentity()``.
        forward: how layers take the product with their weights. ``"dense"`` forms W; ``"factors"`` forms U and V and
            applies one after another; ``"cores"`` contracts the input with the cores of the train directly, or where
            there is no such product, in convolutions, is ``"factors"``; ``"auto"`` takes what costs least by counted
            operations and memory. No number but roundings depends on it.
        attention: ``"separate"`` gives queries, keys and values of attention a weight each, which can have spectra of
            their own; ``"joint"`` gives them one, of their three matrices below each other, with one V and one spectrum
            for all: at equal rank it has about two thirds of the freedom and one product in self-attention. Where
            their inputs differ in size they are separate.

    Raises:
        TypeError: the rank is not an integer, or another attribute is not an object of its kind.
        ValueError: the rank is below 1, or ``forward`` or ``attention`` is none of its choices.
    """

    rank: int
    frames: Geometry = field(default_factory=Riemannian)
    spectrum: Spectrum = field(default_factory=Free)
    initialization: Initialization = field(default_factory=NoisyIdentity)
    forward: Forward = field(default="auto", kw_only=True)
    attention: Attention = field(default="separate", kw_only=True)

    def __post_init__(self) -> None:
        require_rank(self.rank)
        require_forward(self.forward)
        require_choice("attention", self.attention, ATTENTION)
        for name, kind, cure in (
            ("frames", Geometry, "Riemannian() or Householder()"),
            ("spectrum", Spectrum, "Free(), Lipschitz() or Identity()"),
            ("initialization", Initialization, "NoisyIdentity(), Haar() or TruncatedIdentity()"),
        ):
            require_instance(name, getattr(self, name), kind, f"an object such as {cure}")

    @abc.abstractmethod
    def shape(self, weight: WeightShape) -> TrainShape:
        """Return modes and ranks for a weight."""

    def manifold(self, weight: WeightShape) -> SpectralTensorTrain:
        """Return the product manifold for a weight."""
        return SpectralTensorTrain(self.shape(weight), self.frames, self.spectrum)


@final
@dataclass(frozen=True)
class STTP(Specification):
    """Spectral tensor train: W = U diag(s) Vᵀ with U and V contractions of small frames (Obukhov et al. 2021).

    Attributes:
        modes: (row modes, column modes), or a function that returns them for a :class:`WeightShape`; by default the
            paper's, the prime factors of the channels and one mode for the filter.
        pad: allow modes that multiply to more than the dimension; the surplus is cut off.
    """

    modes: Modes | Callable[[WeightShape], Modes] | None = None
    pad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag("pad", self.pad)
        if self.modes is not None and not callable(self.modes):
            try:
                TrainShape(*_pair(self.modes), self.rank)
            except (TypeError, ValueError) as error:
                raise type(error)(f"modes must be of a train: {error}") from None

    def shape(self, weight: WeightShape) -> TrainShape:
        """Return modes and ranks for a weight."""
        require_instance("weight", weight, WeightShape, "a WeightShape")
        if self.modes is None:
            modes = prime_modes(weight.rows), prime_modes(weight.column_channels, weight.filter_size)
        else:
            modes = _pair(self.modes(weight) if callable(self.modes) else self.modes)
        return TrainShape(*modes, self.rank, weight.rows, weight.columns, self.pad)


@final
@dataclass(frozen=True)
class SVDP(Specification):
    """Truncated SVD: W = U diag(s) Vᵀ with U and V a frame each (Obukhov et al. 2021, Sec. 3.1).

    It is the train with one mode a side. Nothing but the identity spectrum leaves it any gauge freedom, so that
    `stiefel` and `grassmann` are the same geometry for it, and so are both Householder ones.
    """

    def shape(self, weight: WeightShape) -> TrainShape:
        """Return modes and ranks for a weight."""
        require_instance("weight", weight, WeightShape, "a WeightShape")
        return TrainShape((weight.rows,), (weight.columns,), self.rank)


def _pair(modes: object) -> Modes:
    if not isinstance(modes, tuple | list) or len(modes) != 2:
        raise TypeError(f"modes must be a pair (row modes, column modes), got {described(modes)}")
    return modes[0], modes[1]
