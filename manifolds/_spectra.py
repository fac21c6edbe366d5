"""How the singular values of a weight are parameterized (Obukhov et al. 2021, Sec. 3.4)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from ._require import described, require_device, require_instance, require_number, require_tensor
from ._train_shape import TrainShape, require_rank

# Below this the largest singular value is not divided by: the scale that is left would be rounding.
SMALLEST_SCALE: Final = 1e-8


class Spectrum(abc.ABC):
    """A map from a parameter of shape ``(..., size)`` to r singular values ``(..., r)``, which may have any sign."""

    is_identity: ClassVar[bool] = False

    def size(self, rank: int) -> int:
        """Return the number of entries of the parameter of a spectrum of ``rank`` values."""
        require_rank(rank)
        return rank

    def freedom(self, rank: int) -> int:
        """Return how many of these entries are free to be trained: all, unless a spectrum says otherwise."""
        return self.size(rank)

    def degrees_of_freedom(self, shape: TrainShape) -> int:
        """Return DOF(W) of a weight of some shape with this spectrum (Eq. 9)."""
        dof = shape.degrees_of_freedom(self.is_identity)
        return dof - self.size(shape.center_rank) + self.freedom(shape.center_rank)

    def initial(self, rank: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Tensor:
        """Return the parameter of a fresh spectrum, of shape ``(size,)``: all ones."""
        require_rank(rank)
        require_device(device)
        if dtype is not None:
            require_instance("dtype", dtype, torch.dtype, "a torch.dtype, or None")
        try:
            first = self._first(rank)
        except (TypeError, RuntimeError) as error:  # from torch, of a size that no tensor has
            raise ValueError(f"rank must be of a spectrum that memory holds, got {rank} ({error})") from None
        return first.to(device=device, dtype=torch.get_default_dtype() if dtype is None else dtype)

    def _first(self, rank: int) -> Tensor:
        """Return the parameter of a fresh spectrum in float64."""
        return torch.ones(self.size(rank), dtype=torch.float64)

    @abc.abstractmethod
    def values(self, parameter: Tensor, rank: int) -> Tensor:
        """Return the singular values ``(..., r)`` of the parameter ``(..., size)``."""

    @abc.abstractmethod
    def fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parameter nearest in kind to given values, and the scale ``(...)`` that it cannot hold.

        The scale is 1 where nothing is dropped.
        """


@final
@dataclass(frozen=True)
class Free(Spectrum):
    """s unconstrained: the Euclidean factor of the product manifold as it is."""

    def values(self, parameter: Tensor, rank: int) -> Tensor:
        """Return the parameter itself."""
        _require_parameter(parameter, rank, rank)
        return parameter

    def fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values themselves and the scale 1."""
        _require_numbers("values", values)
        return values, values.new_ones(values.shape[:-1])


@final
@dataclass(frozen=True)
class Lipschitz(Spectrum):
    """s / max|s|, the paper's flavour L: the matrix has Lipschitz constant 1. The scale of s does nothing."""

    def values(self, parameter: Tensor, rank: int) -> Tensor:
        """Return s / max|s|, the largest magnitude clamped below at 1e-8 as in the paper's code."""
        _require_parameter(parameter, rank, rank)
        return parameter / parameter.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST_SCALE)

    def fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values divided by the largest magnitude, and that magnitude."""
        _require_numbers("values", values)
        if not values.shape[-1]:
            raise ValueError(f"values must be at least one, got {described(values)}")
        scale = values.abs().amax(dim=-1)
        # A zero matrix has no direction to keep: its spectrum starts as a fresh one does.
        safe = torch.where(scale > 0, scale, torch.ones_like(scale)).unsqueeze(-1)
        return torch.where(scale.unsqueeze(-1) > 0, values / safe, torch.ones_like(values)), scale


@final
@dataclass(frozen=True)
class Identity(Spectrum):
    """s ≡ 1, the paper's flavour C: no parameter, and the basis at the centre becomes gauge."""

    is_identity: ClassVar[bool] = True

    def size(self, rank: int) -> int:
        """Return 0."""
        require_rank(rank)
        return 0

    def values(self, parameter: Tensor, rank: int) -> Tensor:
        """Return ones of shape ``(..., rank)``."""
        _require_parameter(parameter, rank, 0)
        return parameter.new_ones(*parameter.shape[:-1], rank)

    def fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return an empty parameter, and the root mean square of the values that ones stand for from now on."""
        _require_numbers("values", values)
        return values[..., :0], values.square().mean(dim=-1).sqrt()


@final
@dataclass(frozen=True)
class Fixed(Spectrum):
    """s frozen at given values, or at those of the weight that is fitted: only U and V are trained.

    The values are stored beside the frames, get no gradient, and count as no degrees of freedom.

    Args:
        given: values for fresh weights, one for each of the r of every weight; without them a weight must be fitted.

    Raises:
        TypeError: the values are no tuple of numbers.
        ValueError: there is none, or one is not finite.

    Source: isospectral training, arXiv 2607.19331.
    """

    given: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.given is None:
            return
        require_instance("given", self.given, tuple | list, "a tuple of numbers, or None to fit a weight")  # type: ignore[arg-type]
        for value in self.given:
            require_number("each value of given", value)
        if not self.given:
            raise ValueError("given must have at least one value, got (); leave it out to fit a weight")
        object.__setattr__(self, "given", tuple(map(float, self.given)))

    def freedom(self, rank: int) -> int:
        """Return 0."""
        return 0

    def _first(self, rank: int) -> Tensor:
        """Return the given values.

        Raises:
            ValueError: there are none, or not as many as the rank.
        """
        if self.given is None:
            raise ValueError(
                "spectrum=Fixed() needs values to be fixed at, got none: pass init='weights' to fit the weights there "
                "are, or give values, Fixed((1.0, 0.5))"
            )
        if len(self.given) != rank:
            raise ValueError(
                f"spectrum must have as many values as the weight has rank, {rank}, got the {len(self.given)} of {self}"
            )
        return torch.tensor(self.given, dtype=torch.float64)

    def values(self, parameter: Tensor, rank: int) -> Tensor:
        """Return the parameter without its gradient."""
        _require_parameter(parameter, rank, rank)
        return parameter.detach()

    def fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values themselves and the scale 1."""
        _require_numbers("values", values)
        return values, values.new_ones(values.shape[:-1])


def _require_parameter(parameter: Tensor, rank: int, size: int) -> None:
    require_rank(rank)
    _require_numbers("parameter", parameter)
    if parameter.shape[-1] != size:
        raise ValueError(f"parameter must have shape (..., {size}) at rank {rank}, got {tuple(parameter.shape)}")


def _require_numbers(name: str, values: Tensor) -> None:
    require_tensor(name, values)
    if not values.is_floating_point():
        raise TypeError(f"{name} must be real numbers, got {described(values)}")
    if not values.dim():
        raise ValueError(f"{name} must have shape (..., r), got {described(values)}")
