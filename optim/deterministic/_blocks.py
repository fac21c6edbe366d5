"""Parameters of one kind as one point: the manifold operations that full-batch methods ask for.

A vector here is a tensor ``(..., N)`` of all entries of the block's parameters, with any leading dimensions.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, final

import geoopt
import torch
from torch import Tensor

from ...manifolds import (
    SHORT,
    EmbeddedTrain,
    FrameManifold,
    Grassmann,
    Stiefel,
    TrainPoint,
    TrainTangent,
    symmetric_part,
)


class Block(abc.ABC):
    """Parameters that are moved by one call.

    Attributes:
        shapes: the shape of each parameter.
        extent: a length typical of the manifold, which the largest radius of trust regions goes by.
    """

    shapes: list[torch.Size]
    extent: float

    @abc.abstractmethod
    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ⟨u, v⟩ at the point ``x`` (N,), of shape ``(...)``, for vectors of one shape."""

    @abc.abstractmethod
    def project(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the projection of ``u`` to the tangent space at ``x``."""

    @abc.abstractmethod
    def gradient(self, x: Tensor, euclidean: Tensor) -> Tensor:
        """Return the tangent vector that represents the linear form H ↦ tr(euclideanᵀH) in the metric at ``x``."""

    @abc.abstractmethod
    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of ``u`` (N,) at ``x`` (N,)."""

    @abc.abstractmethod
    def transport(self, x: Tensor, step: Tensor, end: Tensor, vectors: Tensor) -> Tensor:
        """Return ``vectors`` (..., N), carried from ``x`` along ``step`` to its end."""

    def velocity_product(self, x: Tensor, u: Tensor, length: float, end: Tensor, euclidean: Tensor) -> Tensor:
        """Return ⟨G, d/dt R(tu)⟩ at t = ``length``, where the curve is at ``end`` and G is ``euclidean``."""
        # Forward mode: geoopt's retractions may work in place, which backward passes do not survive.
        velocity = torch.func.jvp(lambda step: self.retract(x, step), (length * u,), (u,))[1]
        return (velocity * euclidean).sum()

    def curvature(self, x: Tensor, euclidean: Tensor, u: Tensor) -> Tensor:
        """Return C with tr(CᵀH) = ⟨G, A(u, H)⟩ for all tangent H, where A(u, u) is the second derivative of R(tu) at 0.

        With a retraction R of second order, such as the exponential map, tr((D²f[u] + C)ᵀH) is the Riemannian Hessian
        of f, G its Euclidean gradient (Absil, Mahony, Sepulchre 2008, Prop. 5.5.5). With any other it is the Hessian
        of f∘R at 0, which serves the model of a trust region as well.
        """
        with torch.enable_grad():
            origin = torch.zeros_like(x).requires_grad_()
            height = (self.retract(x, origin) * euclidean).sum()
            (slope,) = torch.autograd.grad(height, origin, create_graph=True)
            if not slope.requires_grad:
                return torch.zeros_like(u)
            (curvature,) = torch.autograd.grad((slope * u).sum(), origin)
        return curvature


@final
class EuclideanBlock(Block):
    """Parameters in Euclidean space, where nothing needs to be done."""

    def __init__(self, shapes: Sequence[torch.Size]) -> None:
        self.shapes = list(shapes)
        self.extent = max(1.0, sum(shape.numel() for shape in shapes) ** 0.5)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return uᵀv."""
        return (u * v).sum(dim=-1)

    def project(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the vector."""
        return u

    def gradient(self, x: Tensor, euclidean: Tensor) -> Tensor:
        """Return the gradient."""
        return euclidean

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the sum."""
        return x + u

    def transport(self, x: Tensor, step: Tensor, end: Tensor, vectors: Tensor) -> Tensor:
        """Return the vectors."""
        return vectors

    def velocity_product(self, x: Tensor, u: Tensor, length: float, end: Tensor, euclidean: Tensor) -> Tensor:
        """Return Gᵀu."""
        return (euclidean * u).sum()

    def curvature(self, x: Tensor, euclidean: Tensor, u: Tensor) -> Tensor:
        """Return zeros: lines are geodesics."""
        return torch.zeros_like(u)


class _Stack(Block):
    """Parameters of one manifold and one shape, stacked."""

    def __init__(self, manifold: geoopt.Manifold, shape: torch.Size, count: int) -> None:
        self.manifold: Any = manifold
        self.shapes = [shape] * count
        # One parameter needs no dimension of its own, and plain matrix products are faster than batched ones.
        self._shape = shape if count == 1 else torch.Size((count, *shape))
        entries = shape[-1] if isinstance(manifold, FrameManifold) else shape.numel()
        self.extent = max(1.0, count * entries) ** 0.5

    def _open(self, vector: Tensor) -> Tensor:
        return vector.reshape(*vector.shape[:-1], *self._shape)

    def _close(self, tensor: Tensor) -> Tensor:
        return tensor.as_subclass(Tensor).reshape(*tensor.shape[: tensor.dim() - len(self._shape)], -1)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        product = self.manifold.inner(self._open(x), self._open(u), self._open(v))
        leading = u.shape[:-1]
        # Whatever batch dimensions the manifold keeps, the leading ones of the vectors come first.
        return product if product.shape == leading else product.reshape(*leading, -1).sum(dim=-1)

    def project(self, x: Tensor, u: Tensor) -> Tensor:
        return self._close(self.manifold.proju(self._open(x), self._open(u)))

    def gradient(self, x: Tensor, euclidean: Tensor) -> Tensor:
        return self._close(self.manifold.egrad2rgrad(self._open(x), self._open(euclidean)))

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return self._close(self.manifold.retr(self._open(x), self._open(u)))

    def transport(self, x: Tensor, step: Tensor, end: Tensor, vectors: Tensor) -> Tensor:
        leading = vectors.shape[:-1]
        x, end = (point.expand(*leading, -1) for point in (x, end))
        return self._close(self.manifold.transp(self._open(x), self._open(end), self._open(vectors)))


@final
class ManifoldBlock(_Stack):
    """Points of any ``geoopt.Manifold``."""

    def curvature(self, x: Tensor, euclidean: Tensor, u: Tensor) -> Tensor:
        """Return the C of the retraction, or of geodesics on geoopt's Euclidean Stiefel manifold."""
        if not isinstance(self.manifold, geoopt.EuclideanStiefel):
            return super().curvature(x, euclidean, u)
        return self._close(_frame_curvature(self._open(x), self._open(euclidean), self._open(u)))


@final
class FrameBlock(_Stack):
    """Frames on Stiefel or Grassmann, with their own short steps, transports, derivatives and connections."""

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of ``u``, by the cheaper form where the step is short."""
        manifold = self.manifold
        short = float(torch.linalg.vector_norm(u.detach())) <= SHORT
        x, u = self._open(x), self._open(u)
        return self._close(manifold.retraction.retract_short(manifold, x, u) if short else manifold.retr(x, u))

    def transport(self, x: Tensor, step: Tensor, end: Tensor, vectors: Tensor) -> Tensor:
        """Return ``vectors``, carried by the transport of the retraction."""
        leading = vectors.shape[:-1]
        x, step, end = (self._open(point.expand(*leading, -1)) for point in (x, step, end))
        return self._close(
            self.manifold.retraction.transport_along(self.manifold, x, step, self._open(vectors), end),
        )

    def velocity_product(self, x: Tensor, u: Tensor, length: float, end: Tensor, euclidean: Tensor) -> Tensor:
        """Return ⟨G, dR(tu)[u]⟩ from the retraction's differential."""
        x, u, end = self._open(x), self._open(u), self._open(end)
        velocity = self.manifold.retraction.differential(self.manifold, x, length * u, u, end)
        return (velocity * self._open(euclidean)).sum()

    def curvature(self, x: Tensor, euclidean: Tensor, u: Tensor) -> Tensor:
        """Return the C of geodesics, whatever the retraction, so that the Hessian is the Riemannian one.

        Geodesics have the second derivative −XUᵀU at their start for the Euclidean metric and on Grassmann, and
        −UUᵀX − X((XᵀU)² + UᵀU) for the canonical one (Edelman, Arias, Smith 1998, Eq. 2.7, 2.41).
        """
        if type(self.manifold) not in (Stiefel, Grassmann):  # a frame manifold of somebody else
            return super().curvature(x, euclidean, u)
        point, slope, tangent = self._open(x), self._open(euclidean), self._open(u)
        result = _frame_curvature(point, slope, tangent)
        if isinstance(self.manifold, Stiefel) and self.manifold.metric == "canonical":
            inside, twist = point.mT @ slope, point.mT @ tangent
            turned = point @ (twist @ inside + inside @ twist - slope.mT @ tangent) - slope @ twist
            result = result + turned / 2
        return self._close(result)


@final
class TrainBlock(Block):
    """All parameters of one weight under the embedded metric, the frames first and the spectrum last."""

    def __init__(self, whole: EmbeddedTrain) -> None:
        self.whole = whole
        self.shapes = [torch.Size(shape) for shape in whole.shapes]
        self.extent = float(sum(shape[-1] for shape in whole.shapes)) ** 0.5

    def _point(self, x: Tensor) -> TrainPoint:
        tangent = self._tangent(x)
        return TrainPoint(tangent.coordinates, tangent.spectrum, (None,) * len(tangent.coordinates))

    def _tangent(self, u: Tensor) -> TrainTangent:
        tensors = self.whole.unpack(u)
        count = len(self.whole.train.charts)
        return TrainTangent(tuple(tensors[:count]), tensors[count] if len(tensors) > count else u[..., :0])

    @staticmethod
    def _joined(vector: TrainTangent) -> Tensor:
        return torch.cat([*(frame.flatten(-2) for frame in vector.coordinates), vector.spectrum], dim=-1)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ⟨u, v⟩ in the embedded metric."""
        return self.whole.train.inner(self._point(x.expand_as(u)), self._tangent(u), self._tangent(v))

    def project(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the projection of each frame's part."""
        return self._joined(self.whole.train.proju(self._point(x), self._tangent(u)))

    def gradient(self, x: Tensor, euclidean: Tensor) -> Tensor:
        """Return the gradient in the embedded metric."""
        return self.whole.egrad2rgrad(x, euclidean)

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the retraction of the train."""
        return self.whole.retr(x, u)

    def transport(self, x: Tensor, step: Tensor, end: Tensor, vectors: Tensor) -> Tensor:
        """Return ``vectors``, projected to the tangent space at the end."""
        start, goal = (self._point(point.expand_as(vectors)) for point in (x, end))
        return self._joined(self.whole.train.transp(start, goal, self._tangent(vectors)))

    def curvature(self, x: Tensor, euclidean: Tensor, u: Tensor) -> Tensor:
        """Return the C of the frames' own geodesics for the Euclidean metric, with a spectrum that changes linearly.

        These are no geodesics of the embedded metric: the Hessian is that of f along them.
        """
        triples = zip(*(self._tangent(vector).coordinates for vector in (x, euclidean, u)), strict=True)
        frames = tuple(_frame_curvature(point, slope, tangent) for point, slope, tangent in triples)
        return self._joined(TrainTangent(frames, torch.zeros_like(self._tangent(u).spectrum)))


def _frame_curvature(point: Tensor, slope: Tensor, tangent: Tensor) -> Tensor:
    """Return C = −U sym(XᵀG) of the acceleration −XUᵀU, which geodesics of the Euclidean metric have."""
    return -tangent @ symmetric_part(point.mT @ slope)
