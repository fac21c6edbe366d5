"""What a user asks of a layer's weight: the paper's two parameterizations."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self, final, get_args

from ..manifolds import (
    Free,
    Geometry,
    Riemannian,
    SpectralTensorTrain,
    Spectrum,
    TrainShape,
    balanced_modes,
    described,
    prime_modes,
    require_choice,
    require_flag,
    require_instance,
    require_number,
    require_rank,
    smooth_modes,
)
from ._by_layer import ByLayer, by_layer
from ._initialization import Initialization, NoisyIdentity
from ._plan import Forward, require_forward
from ._weight_shape import WeightShape

Attention = Literal["separate", "joint"]
ATTENTION: Final = get_args(Attention)
Modes = tuple[tuple[int, ...], tuple[int, ...]]
NamedModes = Literal["prime", "auto", "balanced"]
NAMED_MODES: Final = get_args(NamedModes)
Rank = int | tuple[int, ...]
# One of these for all layers; or any of them, and None, by layer.
ModesOf = Modes | NamedModes | Callable[[WeightShape], Modes]


@dataclass(frozen=True)
class Specification(abc.ABC):
    """A parameterization of weights: a rank, a geometry of the frames, a spectrum, and how fresh frames are drawn.

    Attributes:
        rank: bound on the ranks; each layer takes as much of it as its shape allows. A tuple bounds each bond of the
            train, and a mapping {pattern: bound} each layer: names of layers or modules, or glob patterns for them, of
            which a layer takes that of its own name or the first that matches. It may be left out where there is a
            tolerance.
        frames: ``Riemannian(…)`` or ``Householder(…)``.
        spectrum: ``Free()``, ``Lipschitz()``, ``Identity()`` or ``Fixed()``.
        tolerance: the largest relative Frobenius error of a weight that is fitted (``init="weights"``), in the metric
            of the calibration data if there are any: each bond gets the least rank for it, up to ``rank``. One number,
            or a mapping by layer as ``rank`` can be.
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
        ValueError: the rank is below 1, the tolerance not between 0 and 1, or ``forward`` or ``attention`` is none of
            its choices.
    """

    rank: Rank | Mapping[str, Rank] | None = None
    frames: Geometry = field(default_factory=Riemannian)
    spectrum: Spectrum = field(default_factory=Free)
    initialization: Initialization = field(default_factory=NoisyIdentity)
    forward: Forward = field(default="auto", kw_only=True)
    attention: Attention = field(default="separate", kw_only=True)
    tolerance: float | Mapping[str, float] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.rank is None and self.tolerance is None:
            raise TypeError(
                "rank must be an integer, got None; give a rank, or a tolerance for weights that are fitted"
            )
        if self.rank is not None:
            object.__setattr__(self, "rank", by_layer("rank", self.rank, _checked_rank))
        if self.tolerance is not None:
            object.__setattr__(self, "tolerance", by_layer("tolerance", self.tolerance, _checked_tolerance))
        require_forward(self.forward)
        require_choice("attention", self.attention, ATTENTION)
        for name, kind, cure in (
            ("frames", Geometry, "Riemannian() or Householder()"),
            ("spectrum", Spectrum, "Free(), Lipschitz(), Identity() or Fixed()"),
            ("initialization", Initialization, "NoisyIdentity(), Haar() or TruncatedIdentity()"),
        ):
            require_instance(name, getattr(self, name), kind, f"an object such as {cure}")

    @abc.abstractmethod
    def shape(self, weight: WeightShape) -> TrainShape:
        """Return modes and ranks for a weight, the largest ranks where a tolerance bounds them alone.

        Raises:
            ValueError: something is given by layer; see :meth:`for_layer`.
        """

    def for_layer(self, names: Sequence[str]) -> Self:
        """Return what the specification says of the layers with these names, which share a weight.

        Raises:
            ValueError: it has no pattern for one of them, or different values.
        """
        given = {name: value.of(names) for name, value in self._by_layer().items()}
        return replace(self, **given) if given else self

    def require_used(self, names: Sequence[str]) -> None:
        """Refuse patterns that hold for none of the layers with these names.

        Raises:
            ValueError: there is one, or a layer has none.
        """
        for value in self._by_layer().values():
            value.require_used(names)

    def bound(self, weight: WeightShape) -> Rank:
        """Return the bound on the ranks of a weight.

        Raises:
            ValueError: it is given by layer.
        """
        if isinstance(self.rank, Mapping):
            raise ValueError(
                f"rank is given by layer, got {self.rank}; ask for_layer([name]) for a layer's specification"
            )
        # Within a side a train has bonds of higher rank than the matrix: each is bounded by its own unfolding.
        return weight.rows * weight.columns if self.rank is None else self.rank

    def _by_layer(self) -> dict[str, ByLayer]:
        return {name: value for name, value in vars(self).items() if isinstance(value, ByLayer)}

    def manifold(self, weight: WeightShape) -> SpectralTensorTrain:
        """Return the product manifold for a weight."""
        return SpectralTensorTrain(self.shape(weight), self.frames, self.spectrum)


@final
@dataclass(frozen=True)
class STTP(Specification):
    """Spectral tensor train: W = U diag(s) Vᵀ with U and V contractions of small frames (Obukhov et al. 2021).

    Attributes:
        modes: (row modes, column modes), or a function that returns them for a :class:`WeightShape`, or one of

            - ``"prime"``, as None the paper's: the prime factors of the channels and one mode for the filter;
            - ``"auto"``: the same, but dimensions with prime factors above 7 are padded by up to 1 %, to the one with
              the fewest degrees of freedom at rank 64 (:func:`~sttp.manifolds.smooth_modes`);
            - ``"balanced"``: modes of about equal size near 8 (:func:`~sttp.manifolds.balanced_modes`);

            or a mapping {pattern: one of these} by layer, as ``rank`` can be.
        pad: allow modes that multiply to more than the dimension; the surplus is cut off. ``"auto"`` needs no leave.
    """

    modes: ModesOf | Mapping[str, ModesOf | None] | None = None
    pad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag("pad", self.pad)
        object.__setattr__(self, "modes", by_layer("modes", self.modes, self._checked_modes))

    def shape(self, weight: WeightShape) -> TrainShape:
        """Return modes and ranks for a weight."""
        require_instance("weight", weight, WeightShape, "a WeightShape")
        bound, modes, pad = self.bound(weight), self.modes, self.pad
        if isinstance(modes, Mapping):
            raise ValueError(
                f"modes are given by layer, got {modes}; ask for_layer([name]) for a layer's specification"
            )
        channels, filters = weight.column_channels, weight.filter_size
        rows, stacked = weight.rows // weight.stacked, (weight.stacked,) if weight.stacked > 1 else ()
        if modes is None or modes == "prime":
            found = (*stacked, *prime_modes(rows)), prime_modes(channels, filters)
        elif modes == "auto":
            # Matrices below each other cannot be padded each.
            row_modes = (*stacked, *prime_modes(rows)) if stacked else smooth_modes(rows)
            found, pad = (row_modes, smooth_modes(channels, filters)), True
        elif modes == "balanced":
            found = (*stacked, *balanced_modes(rows)), balanced_modes(channels, filters)
        else:
            found = _pair(modes(weight) if callable(modes) else modes)
        return TrainShape(*found, bound, weight.rows, weight.columns, pad)

    def _checked_modes(self, modes: Any) -> Any:
        if isinstance(modes, str):
            require_choice("modes", modes, NAMED_MODES)
        elif modes is not None and not callable(modes):
            try:
                TrainShape(*_pair(modes), 1)
            except (TypeError, ValueError) as error:
                raise type(error)(f"modes must be of a train: {error}") from None
        return modes


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
        return TrainShape((weight.rows,), (weight.columns,), self.bound(weight))


def _pair(modes: object) -> Modes:
    if not isinstance(modes, tuple | list) or len(modes) != 2:
        raise TypeError(f"modes must be a pair (row modes, column modes), got {described(modes)}")
    return modes[0], modes[1]


def _checked_rank(rank: Any) -> Rank:
    require_rank(rank)
    return rank if isinstance(rank, int) else tuple(rank)


def _checked_tolerance(tolerance: Any) -> float:
    require_number("tolerance", tolerance, above=0, below=1)
    return float(tolerance)
