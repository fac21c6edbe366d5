"""A problem from a start: what it is solved over, what an optimizer is given, and what is watched."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import final

import geoopt
import torch
from torch import Tensor, nn

from ...layers import manifold_parameter
from ...manifolds import (
    FrameShape,
    Geometry,
    Riemannian,
    SpectralTensorTrain,
    TrainPoint,
    orthogonality_error,
    parameter_manifolds,
    rq_positive,
)


class Variable(abc.ABC):
    """Parameters, and the tensor that they stand for.

    Attributes:
        parameters: what an optimizer moves, ``geoopt.ManifoldParameter`` on manifolds and plain parameters.
    """

    parameters: tuple[nn.Parameter, ...]

    @abc.abstractmethod
    def value(self) -> Tensor:
        """Return the tensor, differentiable in the parameters."""

    @abc.abstractmethod
    def orthogonality_error(self) -> float:
        """Return how far the parameters are off their manifold: the largest ‖XᵀX − I‖_F of any frame."""


@final
class PointVariable(Variable):
    """A point of any manifold, which is its own tensor.

    Args:
        manifold: such as ``geoopt.Sphere()``, or one of your own.
        start: the point, or the shape of a random one in float64, drawn from torch's global generator.
    """

    def __init__(self, manifold: geoopt.Manifold, start: Tensor | Sequence[int]) -> None:
        self._manifold = manifold
        point = start if isinstance(start, Tensor) else manifold.random(*start, dtype=torch.float64)
        self.parameters = (manifold_parameter(point.detach().clone(), manifold),)

    def value(self) -> Tensor:
        """Return the point."""
        return self.parameters[0]

    @torch.no_grad()
    def orthogonality_error(self) -> float:
        """Return ‖x − x'‖, x' being what the manifold projects x to."""
        point = self.parameters[0]
        return float((point - self._manifold.projx(point)).norm())


@final
class FrameVariable(Variable):
    """One frame ``(n, p)`` in the chart of a geometry.

    Args:
        frame: where it starts.
        geometry: how it is stored.
        only_span: whether the problem looks at the span of the frame alone. Then a geometry that is not redundant
            stores a subspace, and the start is another frame with this span.

    Raises:
        ValueError: the metric is that of whole weights.
    """

    def __init__(self, frame: Tensor, geometry: Geometry, only_span: bool) -> None:
        if is_embedded(geometry):
            raise ValueError("metric='embedded' is one of weights, and here is one frame; give metric='euclidean'")
        rows, columns = frame.shape
        gauge_fixed = only_span and not geometry.redundant
        self._chart = geometry.chart(FrameShape(True, 1, rows, columns, at_center=True), gauge_fixed)
        if gauge_fixed:
            # Reduced reflectors want an upper triangular top whose diagonal is not positive.
            frame = -frame @ rq_positive(frame[:columns])[1].mT
        coordinates, signs = self._chart.coordinates(frame)
        self._signs = signs if self._chart.keeps_signs else None
        manifold = self._chart.manifold
        plain = isinstance(manifold, geoopt.Euclidean)
        self.parameters = (manifold_parameter(coordinates, None if plain else manifold),)

    def value(self) -> Tensor:
        """Return the frame ``(n, p)``."""
        return self._chart.frame(self.parameters[0], self._signs)

    def orthogonality_error(self) -> float:
        """Return ‖XᵀX − I‖_F."""
        return float(orthogonality_error(self.value()))


@final
class TrainVariable(Variable):
    """The weight ``(rows, columns)`` of a spectral tensor train.

    Args:
        train: the product manifold.
        point: where it starts.
    """

    def __init__(self, train: SpectralTensorTrain, point: TrainPoint) -> None:
        self._train = train
        tensors = (*point.coordinates, point.spectrum)
        manifolds = parameter_manifolds(train)
        self.parameters = tuple(manifold_parameter(x, m) for x, m in zip(tensors, manifolds, strict=True))
        self._point = TrainPoint(self.parameters[:-1], self.parameters[-1], point.signs)

    def value(self) -> Tensor:
        """Return W ``(rows, columns)``."""
        return self._train.to_matrix(self._point)

    def orthogonality_error(self) -> float:
        """Return the largest ‖XᵀX − I‖_F of any frame."""
        return max(float(orthogonality_error(frame)) for frame in self._train.to_frames(self._point))


class Instance(abc.ABC):
    """A problem from a start, in a geometry.

    Attributes:
        parameters: what an optimizer moves, ``geoopt.ManifoldParameter`` on manifolds and plain parameters.
    """

    parameters: tuple[nn.Parameter, ...]

    @abc.abstractmethod
    def loss(self) -> Tensor:
        """Return the loss of the next step, a scalar with a gradient."""

    @abc.abstractmethod
    def gap(self) -> float:
        """Return how far above the optimum the parameters are, relative to the problem's scale."""

    @abc.abstractmethod
    def orthogonality_error(self) -> float:
        """Return how far the parameters are off their manifold: the largest ‖XᵀX − I‖_F of any frame."""


@final
class CostInstance(Instance):
    """A cost of a variable.

    Args:
        variable: where it starts.
        cost: of the variable's value, a scalar.
        optimum: its least value; None where that is not known, and the cost itself takes the gap's place.
        scale: what gaps are divided by.
    """

    def __init__(
        self, variable: Variable, cost: Callable[[Tensor], Tensor], optimum: float | None = None, scale: float = 1.0
    ) -> None:
        self._variable, self._cost, self._optimum, self._scale = variable, cost, optimum, scale
        self.parameters = variable.parameters

    def loss(self) -> Tensor:
        """Return the cost."""
        return self._cost(self._variable.value())

    @torch.no_grad()
    def gap(self) -> float:
        """Return |cost − optimum| / scale: points that are not quite on their manifold may lie below the optimum.

        Raises:
            ValueError: the optimum is not known, and the cost negative.
        """
        cost = float(self._cost(self._variable.value().double()))
        if self._optimum is None and cost < 0:
            raise ValueError(f"optimum must be given for a cost that is negative, got {cost:g}; a lower bound will do")
        return abs(cost - (self._optimum or 0.0)) / self._scale

    def orthogonality_error(self) -> float:
        """Return how far the variable is off its manifold."""
        return self._variable.orthogonality_error()


def tells_frames_apart(geometry: Geometry, only_span: bool) -> bool:
    """Return whether a geometry is open to a cost over one frame, and no other one in disguise."""
    # Where more than the span counts nothing is gauge: `grassmann` is `stiefel`, `householder-reduced` `householder`.
    return not is_embedded(geometry) and (only_span or geometry.redundant)


def is_embedded(geometry: Geometry) -> bool:
    """Return whether the metric is that of whole weights."""
    return isinstance(geometry, Riemannian) and geometry.embedded is not None
