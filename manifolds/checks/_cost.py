"""Gradient and Hessian of a user's cost function, by the slope of their Taylor models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import geoopt
import torch
from torch import Tensor

from .._require import require_function
from .._spectral_tensor_train import SpectralTensorTrain
from ._coordinates import FlatManifold, flat_manifold
from ._results import CheckResult, Finding, by_error, by_slope, collect
from ._slopes import measure_slope

Cost = Callable[[Any], Tensor]


def check_gradient(
    manifold: geoopt.Manifold | SpectralTensorTrain,
    cost: Cost,
    shape: Sequence[int] | None = None,
    *,
    point: Any = None,
    gradient: Callable[[Any], Any] | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> CheckResult:
    """Check the Riemannian gradient of a cost function.

    Findings: ``tangent``; ``directional derivative``, ⟨grad f, Ξ⟩ against central differences of f along the
    retraction; ``first-order model``, the slope of |f(R(tΞ)) − f(X) − t⟨grad f, Ξ⟩|, at least 2.

    Args:
        manifold: the manifold.
        cost: takes a point and returns a scalar, differentiable by autograd unless the gradient is given.
        shape: the shape of the points, by default (7,) or (7, 3); not for a train.
        point: the point to check at, instead of a random one.
        gradient: takes a point and returns the Riemannian gradient; by default autograd's through ``egrad2rgrad``.
        dtype: precision of the random point.
        device: device of the random point.

    Raises:
        TypeError: the manifold is of a wrong type.
        ValueError: the shape cannot be guessed.
    """
    require_function("cost", cost, "a function of a point that returns a scalar tensor")
    if gradient is not None:
        require_function("gradient", gradient, "a function of a point that returns the Riemannian gradient, or None")
    space = flat_manifold(manifold, shape, point, dtype, device)
    found = _gradient(space, cost, gradient, space.coordinates(space.point)).detach()
    properties: dict[str, Callable[[], Callable[[str], Finding]]] = {
        "tangent": lambda: _tangent(space, found),
        "directional derivative": lambda: _directional_derivative(space, cost, found, space.tangent("cost")),
        "first-order model": lambda: _first_order_model(space, cost, found, space.tangent("cost")),
    }
    return collect(f"{manifold} gradient", str(found.dtype), properties)


def check_hessian(
    manifold: geoopt.Manifold | SpectralTensorTrain,
    cost: Cost,
    shape: Sequence[int] | None = None,
    *,
    point: Any = None,
    gradient: Callable[[Any], Any] | None = None,
    hessian: Callable[[Any, Any], Any] | None = None,
    method: str = "expmap",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> CheckResult:
    """Check the Riemannian Hessian of a cost function.

    Findings: ``tangent``, ``linear``, ``symmetric``; ``second-order model``, the slope of
    |f(R(tΞ)) − f(X) − t⟨grad f, Ξ⟩ − ½t²⟨Hess f[Ξ], Ξ⟩|, at least 3 along a map of second order or at a critical point.

    Args:
        manifold: the manifold.
        cost: takes a point and returns a scalar.
        shape: the shape of the points; see :func:`check_gradient`.
        point: the point to check at, instead of a random one.
        gradient: takes a point and returns the Riemannian gradient.
        hessian: takes a point and a tangent vector and returns Hess f[Ξ]. By default the projected derivative of the
            gradient, which is right where the metric is that of the surrounding space (Absil, Mahony, Sepulchre
            2008, Eq. 5.15), and wrong for any other, such as the canonical one.
        method: the map to walk along: ``"expmap"``, or ``"retr"`` if it is of second order.
        dtype: precision of the random point.
        device: device of the random point.

    Raises:
        TypeError: the manifold is of a wrong type.
        ValueError: the shape cannot be guessed.
    """
    require_function("cost", cost, "a function of a point that returns a scalar tensor")
    if gradient is not None:
        require_function("gradient", gradient, "a function of a point that returns the Riemannian gradient, or None")
    space = flat_manifold(manifold, shape, point, dtype, device)
    found = _gradient(space, cost, gradient, space.coordinates(space.point)).detach()

    def apply(tangent: Tensor) -> Tensor:
        if hessian is not None:
            return space.flat(hessian(space.point, space.vector(tangent))).detach()
        _, derivative = torch.autograd.functional.jvp(
            lambda x: _gradient(space, cost, gradient, x, create_graph=True), space.coordinates(space.point), tangent
        )
        return space.project(space.point, derivative.detach())

    first, second = space.tangent("cost"), space.tangent("second direction")
    images = apply(first), apply(second)
    properties: dict[str, Callable[[], Callable[[str], Finding]]] = {
        "tangent": lambda: _tangent(space, images[0]),
        "linear": lambda: _linear(space, apply, first, second, images),
        "symmetric": lambda: _symmetric(space, first, second, images),
        "second-order model": lambda: _second_order_model(space, cost, found, first, images[0], method),
    }
    return collect(f"{manifold} Hessian", str(found.dtype), properties)


def _gradient(
    space: FlatManifold,
    cost: Cost,
    gradient: Callable[[Any], Any] | None,
    coordinates: Tensor,
    create_graph: bool = False,
) -> Tensor:
    """Return the Riemannian gradient at the coordinates, which may lie off the manifold for a derivative's sake."""
    with torch.enable_grad():
        if not create_graph:
            coordinates = coordinates.detach().requires_grad_()
        point = space.at(coordinates)
        if gradient is not None:
            return space.flat(gradient(point))
        (euclidean,) = torch.autograd.grad(cost(point), coordinates, create_graph=create_graph)
        return space.flat(space.call("egrad2rgrad", point, space.vector(euclidean)))


def _tangent(space: FlatManifold, vector: Tensor) -> Callable[[str], Finding]:
    difference = torch.linalg.vector_norm(space.project(space.point, vector) - vector)
    norm = torch.linalg.vector_norm(vector)
    return by_error(float(difference / torch.where(norm > 0, norm, 1.0)), 1e3 * space.epsilon)


def _directional_derivative(
    space: FlatManifold, cost: Cost, gradient: Tensor, tangent: Tensor
) -> Callable[[str], Finding]:
    step = space.epsilon ** (1 / 3)
    with torch.no_grad():
        ahead, behind = (cost(space.move("retr", space.point, s * tangent)) for s in (step, -step))
    difference = (ahead - behind) / (2 * step)
    expected = space.inner(space.point, gradient, tangent)
    scale = space.inner(space.point, gradient, gradient).sqrt() + ahead.abs()
    error = (difference - expected).abs() / torch.where(scale > 0, scale, 1.0)
    return by_error(float(error), 200 * space.epsilon ** (2 / 3))


def _first_order_model(space: FlatManifold, cost: Cost, gradient: Tensor, tangent: Tensor) -> Callable[[str], Finding]:
    start = float(cost(space.point))
    slope_at_zero = float(space.inner(space.point, gradient, tangent))

    def error_at(step: float) -> float:
        return abs(float(cost(space.move("retr", space.point, step * tangent))) - start - step * slope_at_zero)

    scale = max(abs(start), abs(slope_at_zero))
    return by_slope(measure_slope(error_at, 2, scale, space.epsilon))


def _second_order_model(
    space: FlatManifold, cost: Cost, gradient: Tensor, tangent: Tensor, image: Tensor, method: str
) -> Callable[[str], Finding]:
    start = float(cost(space.point))
    slope_at_zero = float(space.inner(space.point, gradient, tangent))
    curvature = float(space.inner(space.point, image, tangent))

    def error_at(step: float) -> float:
        end = float(cost(space.move(method, space.point, step * tangent)))
        return abs(end - start - step * slope_at_zero - step**2 * curvature / 2)

    scale = max(abs(start), abs(slope_at_zero), abs(curvature))
    return by_slope(measure_slope(error_at, 3, scale, space.epsilon))


def _linear(
    space: FlatManifold,
    apply: Callable[[Tensor], Tensor],
    first: Tensor,
    second: Tensor,
    images: tuple[Tensor, Tensor],
) -> Callable[[str], Finding]:
    combined = apply(2 * first - 3 * second)
    expected = 2 * images[0] - 3 * images[1]
    scale = torch.linalg.vector_norm(images[0]) + torch.linalg.vector_norm(images[1])
    error = torch.linalg.vector_norm(combined - expected) / torch.where(scale > 0, scale, 1.0)
    return by_error(float(error), 1e4 * space.epsilon)


def _symmetric(
    space: FlatManifold, first: Tensor, second: Tensor, images: tuple[Tensor, Tensor]
) -> Callable[[str], Finding]:
    left, right = space.inner(space.point, images[0], second), space.inner(space.point, first, images[1])
    scale = torch.linalg.vector_norm(images[0]) + torch.linalg.vector_norm(images[1])
    return by_error(float((left - right).abs() / torch.where(scale > 0, scale, 1.0)), 1e4 * space.epsilon)
