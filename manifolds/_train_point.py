"""Points and tangent vectors of a spectral tensor train, as plain tuples of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class TrainPoint:
    """A point of a :class:`~sttp.manifolds.SpectralTensorTrain`.

    Attributes:
        coordinates: the coordinates of the stored frames, in the order of the chain.
        spectrum: the spectrum's parameter, ``(..., size)``.
        signs: for each stored frame its fixed signs ``(..., p)``, or None where its chart needs none.
    """

    coordinates: tuple[Tensor, ...]
    spectrum: Tensor
    signs: tuple[Tensor | None, ...]

    def to(self, dtype: torch.dtype) -> TrainPoint:
        """Return the point in another precision."""
        signs = tuple(None if s is None else s.to(dtype) for s in self.signs)
        return TrainPoint(tuple(x.to(dtype) for x in self.coordinates), self.spectrum.to(dtype), signs)


@final
@dataclass(frozen=True)
class TrainTangent:
    """A tangent vector, or an ambient one, at a :class:`TrainPoint`: a tensor for each of the point's."""

    coordinates: tuple[Tensor, ...]
    spectrum: Tensor


@final
@dataclass(frozen=True)
class MatrixFit:
    """What :meth:`~sttp.manifolds.SpectralTensorTrain.from_matrix` found.

    Attributes:
        point: the point.
        error: ‖W − Ŵ‖_F / ‖W‖_F of the truncated train Ŵ, of shape ``(...)``, before the spectrum drops its scale.
        scale: the factor ``(...)`` that the spectrum cannot hold; 1 for a free one.
        calibrated_error: the relative error in the norm of the inputs' metric, None where none was given.
    """

    point: TrainPoint
    error: Tensor
    scale: Tensor
    calibrated_error: Tensor | None = None
