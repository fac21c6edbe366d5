"""The parameters of one weight under the embedded metric, which no parameter has for itself.

The metric of one frame needs the frames beside it and the singular values, so that it belongs to the whole train.
Each parameter of such a weight lies on an :class:`EmbeddedFrame` or :class:`EmbeddedSpectrum` that refuses to give a
gradient or an inner product of its own, and names the :class:`EmbeddedTrain` which has them. An optimizer that knows
the protocol :class:`~sttp.manifolds.TrainMember` takes the parameters of a train together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, final

import geoopt
import torch
from torch import Tensor

from ._frame_manifold import FrameManifold
from ._geodesics import Generators
from ._geometry import Riemannian
from ._require import require_instance
from ._spectral_tensor_train import SpectralTensorTrain
from ._train_point import TrainPoint, TrainTangent

_CURE = (
    "metric='embedded' belongs to all parameters of a weight together, and this asks for one parameter's: use "
    "sttp.optim.RiemannianAdam or RiemannianSGD, which take them together, or metric='euclidean'"
)


@final
class EmbeddedTrain:
    """All parameters of one weight as one vector ``(..., N)``: the stored frames one after another, then the spectrum.

    It has what an optimizer asks of a manifold; the names are geoopt's.

    Args:
        train: the product manifold, whose geometry has the embedded metric.

    Raises:
        TypeError: it is no train.
    """

    def __init__(self, train: SpectralTensorTrain) -> None:
        require_instance("train", train, SpectralTensorTrain, "a SpectralTensorTrain")
        self.train = train
        self.shapes = [chart.shape for chart in train.charts]
        if size := train.spectrum.size(train.shape.center_rank):
            self.shapes.append((size,))
        self._sizes = [torch.Size(shape).numel() for shape in self.shapes]

    @property
    def dimension(self) -> int:
        """Number N of entries of all parameters."""
        return sum(self._sizes)

    def pack(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the vector ``(N,)`` of one tensor for each parameter."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    def unpack(self, vector: Tensor) -> list[Tensor]:
        """Return the tensors ``(..., *shape)`` of a vector ``(..., N)``: the inverse of :meth:`pack`."""
        pieces = vector.split(self._sizes, dim=-1)
        return [piece.reshape(*vector.shape[:-1], *shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def spectrum_of(self, vector: Tensor) -> Tensor:
        """Return the spectrum's part of a vector ``(..., N)``, a view; with no parameters of its own it is empty."""
        frames = self._sizes[: len(self.train.charts)]
        return vector[..., sum(frames) :]

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Riemannian gradient of a Euclidean one."""
        return self._joined(self.train.egrad2rgrad(self._point(x), self._tangent(u)))

    def component_inner(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ⟨u, u⟩ of shape ``(..., 1)``."""
        return self.train.inner(self._point(x), self._tangent(u)).unsqueeze(-1)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of ``u`` at ``x``."""
        return self._joined(self.train.retr(self._point(x), self._tangent(u)))

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the retraction of ``u`` at ``x``, and ``v`` transported along it."""
        start = self._point(x)
        end = self.train.retr(start, self._tangent(u))
        return self._joined(end), self._joined(self.train.transp(start, end, self._tangent(v)))

    def _point(self, vector: Tensor) -> TrainPoint:
        tangent = self._tangent(vector)
        return TrainPoint(tangent.coordinates, tangent.spectrum, (None,) * len(tangent.coordinates))

    def _tangent(self, vector: Tensor) -> TrainTangent:
        tensors = self.unpack(vector)
        split = len(self.train.charts)
        spectrum = tensors[split] if len(tensors) > split else vector[..., :0]
        return TrainTangent(tuple(tensors[:split]), spectrum)

    def _joined(self, point: TrainPoint | TrainTangent) -> Tensor:
        return torch.cat([*(frame.flatten(-2) for frame in point.coordinates), point.spectrum], dim=-1)


class _WithoutMetric:
    """What frames and spectrum refuse alike; named first among the bases."""

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> NoReturn:
        """Refuse.

        Raises:
            TypeError: always, with the cure.
        """
        raise TypeError(_CURE)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> NoReturn:
        """Refuse.

        Raises:
            TypeError: always, with the cure.
        """
        raise TypeError(_CURE)


@final
class EmbeddedFrame(_WithoutMetric, FrameManifold):
    """One frame of an embedded train: the points and tangents of Stiefel or Grassmann, without a metric of its own.

    Args:
        whole: the train.
        position: the frame's place among the train's parameters.
        base: ``Stiefel(…)`` or ``Grassmann(…)``.
    """

    name = "EmbeddedFrame"

    def __init__(self, whole: EmbeddedTrain, position: int, base: FrameManifold) -> None:
        super().__init__(base.retraction)
        self.whole = whole
        self.position = position
        self.base = base

    def _key(self) -> tuple[object, ...]:
        return (type(self), id(self.whole), self.position)

    def dimension(self, size: Sequence[int]) -> int:
        """Return the dimension of the frames' own manifold."""
        return self.base.dimension(size)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the orthogonal projection to the tangent space at ``x``."""
        return self.base.proju(x, u)

    def geodesic_generators(self, x: Tensor, u: Tensor) -> Generators:
        """Return those of the frames' own manifold."""
        return self.base.geodesic_generators(x, u)


@final
class EmbeddedSpectrum(_WithoutMetric, geoopt.Euclidean):
    """The spectrum of an embedded train: a Euclidean space without a metric of its own."""

    name = "EmbeddedSpectrum"

    def __init__(self, whole: EmbeddedTrain) -> None:
        super().__init__(ndim=1)
        self.whole = whole
        self.position = len(whole.train.charts)


def parameter_manifolds(train: SpectralTensorTrain) -> list[geoopt.Manifold | None]:
    """Return the manifolds of the parameters of one weight: one for each stored frame, then the spectrum's.

    None stands for a plain parameter. Under the embedded metric all name one new :class:`EmbeddedTrain`.
    """
    require_instance("train", train, SpectralTensorTrain, "a SpectralTensorTrain")
    geometry = train.geometry
    if isinstance(geometry, Riemannian) and geometry.embedded is not None:
        whole = EmbeddedTrain(train)
        frames = (EmbeddedFrame(whole, position, chart.manifold) for position, chart in enumerate(train.charts))
        return [*frames, EmbeddedSpectrum(whole)]
    manifolds = [chart.manifold for chart in train.charts]
    return [*(None if isinstance(manifold, geoopt.Euclidean) else manifold for manifold in manifolds), None]
