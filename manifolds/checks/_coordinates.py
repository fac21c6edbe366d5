"""Points and vectors of any manifold as one flat tensor each, which is all that the checks compute with."""

from __future__ import annotations

import abc
import zlib
from collections.abc import Sequence
from typing import Any, final

import geoopt
import torch
from torch import Tensor

from .._require import require_shape, require_source
from .._spectral_tensor_train import SpectralTensorTrain
from .._train_point import TrainPoint, TrainTangent


class FlatManifold(abc.ABC):
    """A manifold whose vectors are flat tensors ``(size,)``; its points stay what the manifold makes of them.

    Attributes:
        manifold: the manifold behind it.
        point: the point at which the checks are made.
        size: the number of coordinates of a point, and of a vector.
    """

    manifold: Any
    point: Any
    size: int

    # --- what differs between kinds of points ---

    @abc.abstractmethod
    def coordinates(self, point: Any) -> Tensor:
        """Return a point's coordinates."""

    @abc.abstractmethod
    def at(self, coordinates: Tensor) -> Any:
        """Return the point, on or off the manifold, that has the coordinates."""

    @abc.abstractmethod
    def vector(self, flat: Tensor) -> Any:
        """Return the manifold's own form of a vector."""

    @abc.abstractmethod
    def flat(self, vector: Any) -> Tensor:
        """Return a vector of the manifold's own form as a flat tensor."""

    @abc.abstractmethod
    def dimension(self) -> int | None:
        """Return the dimension that the manifold claims, if it does."""

    # --- what the checks call ---

    @property
    def epsilon(self) -> float:
        """Machine epsilon of the precision."""
        return float(torch.finfo(self.coordinates(self.point).dtype).eps)

    def generator(self, name: str) -> torch.Generator:
        """Return the generator of a named draw, on the CPU so that all devices see the same numbers."""
        return torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def ambient(self, name: str, count: int = 1) -> Tensor:
        """Return normal vectors ``(count, size)`` of norm about 1, the same whenever the name is the same."""
        like = self.coordinates(self.point)
        drawn = torch.randn(count, self.size, dtype=torch.float64, generator=self.generator(name))
        return (drawn / self.size**0.5).to(like)

    def tangent(self, name: str) -> Tensor:
        """Return a tangent vector of norm 1 in the metric.

        Raises:
            NotImplementedError: there is none, as the projection leaves nothing but rounding.
        """
        vector = self.project(self.point, self.ambient(name)[0])
        if float(torch.linalg.vector_norm(vector)) < 1e3 * self.epsilon:
            raise NotImplementedError("the manifold is made of isolated points")
        return vector / self.inner(self.point, vector, vector).sqrt()

    def project(self, point: Any, flat: Tensor) -> Tensor:
        """Return the projection to the tangent space."""
        return self.flat(self.call("proju", point, self.vector(flat)))

    def inner(self, point: Any, first: Tensor, second: Tensor) -> Tensor:
        """Return the inner product."""
        return torch.as_tensor(self.call("inner", point, self.vector(first), self.vector(second))).sum()

    def move(self, method: str, point: Any, flat: Tensor) -> Any:
        """Return the end of a step by ``retr`` or ``expmap``."""
        return self.call(method, point, self.vector(flat))

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the manifold.

        Raises:
            NotImplementedError: the manifold has none of this name.
        """
        function = getattr(self.manifold, method, None)
        if function is None:
            raise NotImplementedError(f"no {method}")
        return function(*arguments)


@final
class TensorManifold(FlatManifold):
    """A ``geoopt.Manifold``, whose points and vectors are tensors of one shape."""

    def __init__(self, manifold: geoopt.Manifold, point: Tensor) -> None:
        self.manifold = manifold
        self.point = point.detach().as_subclass(Tensor)
        self.size = point.numel()

    def coordinates(self, point: Tensor) -> Tensor:
        """Return the entries."""
        return point.as_subclass(Tensor).reshape(-1)

    def at(self, coordinates: Tensor) -> Tensor:
        """Return the entries in the point's shape."""
        return coordinates.reshape(self.point.shape)

    def vector(self, flat: Tensor) -> Tensor:
        """Return the entries in the point's shape."""
        return flat.reshape(self.point.shape)

    def flat(self, vector: Tensor) -> Tensor:
        """Return the entries."""
        return vector.as_subclass(Tensor).reshape(-1)

    def dimension(self) -> int | None:
        """Return ``manifold.dimension(shape)`` where there is such a method."""
        claim = getattr(self.manifold, "dimension", None)
        return claim(tuple(self.point.shape)) if callable(claim) else None


@final
class TrainManifold(FlatManifold):
    """A ``SpectralTensorTrain``, whose coordinates are those of its frames and its spectrum in a row."""

    def __init__(self, manifold: SpectralTensorTrain, point: TrainPoint) -> None:
        self.manifold = manifold
        self.point = point
        self._shapes = [x.shape for x in (*point.coordinates, point.spectrum)]
        self.size = sum(shape.numel() for shape in self._shapes)

    def coordinates(self, point: TrainPoint) -> Tensor:
        """Return the coordinates of the frames, then the spectrum."""
        return torch.cat([x.reshape(-1) for x in (*point.coordinates, point.spectrum)])

    def at(self, coordinates: Tensor) -> TrainPoint:
        """Return the point with these coordinates and this point's signs."""
        *frames, spectrum = self._split(coordinates)
        return TrainPoint(tuple(frames), spectrum, self.point.signs)

    def vector(self, flat: Tensor) -> TrainTangent:
        """Return the tangent or ambient vector."""
        *frames, spectrum = self._split(flat)
        return TrainTangent(tuple(frames), spectrum)

    def flat(self, vector: TrainTangent) -> Tensor:
        """Return the vectors of the frames, then the spectrum's."""
        return torch.cat([x.reshape(-1) for x in (*vector.coordinates, vector.spectrum)])

    def dimension(self) -> int | None:
        """Return the train's own count."""
        return self.manifold.dimension

    def _split(self, flat: Tensor) -> list[Tensor]:
        pieces = flat.split([shape.numel() for shape in self._shapes])
        return [piece.reshape(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]


def flat_manifold(
    manifold: geoopt.Manifold | SpectralTensorTrain,
    shape: Sequence[int] | None,
    point: Any,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> FlatManifold:
    """Return the flat form of a manifold at a given point, or else at a random one of the given shape.

    Raises:
        TypeError: the manifold is neither a ``geoopt.Manifold`` nor a ``SpectralTensorTrain``.
        ValueError: there is no shape, and the manifold's number of dimensions suggests none.
    """
    require_source(dtype, device)
    if shape is not None:
        shape = require_shape("shape", shape)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(20210304)
        if isinstance(manifold, SpectralTensorTrain):
            return TrainManifold(manifold, manifold.random(dtype=dtype, device=device) if point is None else point)
        if not isinstance(manifold, geoopt.Manifold):
            raise TypeError(f"manifold must be a geoopt.Manifold or a SpectralTensorTrain, got {manifold!r}")
        if point is None:
            shape = _default_shape(manifold) if shape is None else shape
            try:
                point = manifold.random(*shape, dtype=dtype, device=device)
            except NotImplementedError:
                raise ValueError(f"point must be given: {manifold} has no random points, got None") from None
            except ValueError as error:
                raise ValueError(f"shape must be that of points of {manifold}, got {shape}: {error}") from error
        return TensorManifold(manifold, point)


def _default_shape(manifold: geoopt.Manifold) -> tuple[int, ...]:
    shapes: dict[int | None, tuple[int, ...]] = {1: (7,), 2: (7, 3)}
    if manifold.ndim not in shapes:
        raise ValueError(f"shape must be given for points of {manifold.ndim} dimensions, got None")
    return shapes[manifold.ndim]
