"""What points and tangent vectors of a train must be: of its shapes, of one dtype, with one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._geometry import Chart, require_coordinates
from ._require import described, is_like, require_instance
from ._train_point import TrainPoint, TrainTangent


def require_point(charts: Sequence[Chart], size: int, point: TrainPoint) -> None:
    """Refuse what is no point of a train.

    Args:
        charts: those of its stored frames.
        size: the number of parameters of its spectrum.
        point: what was given.

    Raises:
        TypeError: it is no :class:`TrainPoint`, or its tensors are neither float32 nor float64.
        ValueError: its tensors have other shapes than the train.
    """
    require_instance("point", point, TrainPoint, "a TrainPoint")
    _require_parts("point", charts, size, point)
    require_instance("point.signs", point.signs, tuple, "a tuple of tensors and None")
    if len(point.signs) != len(charts):
        raise ValueError(f"point must have {len(charts)} signs, tensors or None, got {len(point.signs)}")


def require_at(charts: Sequence[Chart], size: int, point: TrainPoint, **others: TrainPoint | TrainTangent) -> None:
    """Refuse what is no point of a train, or no vectors at it or other points like it; see :func:`require_point`."""
    require_point(charts, size, point)
    for name, other in others.items():
        kind = TrainPoint if name == "end" else TrainTangent
        require_instance(name, other, kind, f"a {kind.__name__}")
        _require_parts(name, charts, size, other)
        ours, theirs = point.spectrum, other.spectrum
        if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
            raise ValueError(
                f"{name} must have the dtypes and shapes of point, whose spectrum is {described(ours)}, got "
                f"{described(theirs)}"
            )


def _require_parts(name: str, charts: Sequence[Chart], size: int, parts: TrainPoint | TrainTangent) -> None:
    if _are_right(charts, size, parts):
        return
    require_instance(f"{name}.coordinates", parts.coordinates, tuple, "a tuple of tensors")
    if len(parts.coordinates) != len(charts):
        raise ValueError(f"{name} must have {len(charts)} coordinates, got {len(parts.coordinates)}")
    for k, (tensor, chart) in enumerate(zip(parts.coordinates, charts, strict=True)):
        require_coordinates(f"{name}.coordinates[{k}]", tensor, chart.shape)
    require_coordinates(f"{name}.spectrum", parts.spectrum, (size,))
    batch = parts.spectrum.shape[:-1]
    for tensor, chart in zip(parts.coordinates, charts, strict=True):
        if not is_like(tensor, (*batch, *chart.shape), parts.spectrum.dtype, parts.spectrum.device):
            raise ValueError(
                f"{name} must have tensors of one dtype, on one device, with the same leading dimensions, got a "
                f"spectrum that is {described(parts.spectrum)}, and coordinates that are {described(tensor)}"
            )


def _are_right(charts: Sequence[Chart], size: int, parts: TrainPoint | TrainTangent) -> bool:
    """Return whether all is as it should be: the usual case, of which little is asked."""
    spectrum, coordinates = parts.spectrum, parts.coordinates
    if not isinstance(spectrum, Tensor) or not isinstance(coordinates, tuple) or len(coordinates) != len(charts):
        return False
    dtype, device, shape = spectrum.dtype, spectrum.device, spectrum.shape
    if dtype not in (torch.float32, torch.float64) or shape[-1:] != (size,):
        return False
    return all(
        is_like(tensor, (*shape[:-1], *chart.shape), dtype, device)
        for tensor, chart in zip(coordinates, charts, strict=True)
    )
