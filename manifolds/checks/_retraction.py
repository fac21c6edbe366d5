"""Is it a retraction, and of which order?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import geoopt
import torch

from .._require import require_instance
from .._spectral_tensor_train import SpectralTensorTrain
from ._coordinates import FlatManifold, flat_manifold
from ._results import CheckResult, Finding, Verdict, absent, by_error, by_slope, collect
from ._slopes import measure_slope


def check_retraction(
    manifold: geoopt.Manifold | SpectralTensorTrain,
    shape: Sequence[int] | None = None,
    *,
    point: Any = None,
    method: str = "retr",
    second_order: bool | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> CheckResult:
    """Check that a map from tangent vectors to points is a retraction, and compare it with the exponential map.

    Findings: ``centred``, R(0) = X; ``stays on the manifold``; ``velocity``, dR(0)[Ξ] = Ξ by central differences;
    ``first order``, the slope of ‖R(tΞ) − (X + tΞ)‖, at least 2; ``second order``, the slope of R(tΞ) against
    Exp(tΞ), at least 3 where claimed. The slope alone would pass a small error in the velocity that the curvature
    hides until t is small; that is what the velocity is for.

    Args:
        manifold: the manifold.
        shape: the shape of its points, by default (7,) or (7, 3); not for a train.
        point: the point to check at, instead of a random one.
        method: the name of the map, ``"retr"`` or ``"expmap"``.
        second_order: whether the map claims to be of second order; None measures it and claims nothing.
        dtype: precision of the random point.
        device: device of the random point.

    Raises:
        TypeError: the manifold is of a wrong type.
        ValueError: the shape cannot be guessed.
    """
    require_instance("method", method, str, "the name of a method, such as 'retr'")
    space = flat_manifold(manifold, shape, point, dtype, device)
    properties: dict[str, Callable[[], Callable[[str], Finding]]] = {
        "centred": lambda: _centred(space, method),
        "stays on the manifold": lambda: _stays(space, method),
        "velocity": lambda: velocity(space, method),
        "first order": lambda: _first_order(space, method),
        "second order": lambda: _second_order(space, method, second_order),
    }
    return collect(f"{manifold} {method}", str(space.coordinates(space.point).dtype), properties)


def velocity(space: FlatManifold, method: str) -> Callable[[str], Finding]:
    """Compare the velocity of t ↦ R(tΞ) at 0 with Ξ."""
    tangent = space.tangent("step")
    step = space.epsilon ** (1 / 3)
    ahead, behind = (space.coordinates(space.move(method, space.point, s * tangent)) for s in (step, -step))
    error = torch.linalg.vector_norm((ahead - behind) / (2 * step) - tangent) / torch.linalg.vector_norm(tangent)
    # Central differences are good to epsilon^(2/3), times the third derivative of the map.
    return by_error(float(error), 200 * space.epsilon ** (2 / 3))


def _centred(space: FlatManifold, method: str) -> Callable[[str], Finding]:
    start = space.coordinates(space.point)
    end = space.coordinates(space.move(method, space.point, torch.zeros_like(start)))
    error = torch.linalg.vector_norm(end - start) / torch.linalg.vector_norm(start)
    return by_error(float(error), 100 * space.epsilon)


def _stays(space: FlatManifold, method: str) -> Callable[[str], Finding]:
    tangent = space.tangent("step")
    errors = []
    for length in (1e-3, 1.0):
        end = space.move(method, space.point, length * tangent)
        difference = space.coordinates(space.call("projx", end)) - space.coordinates(end)
        errors.append(float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(space.coordinates(end))))
    return by_error(max(errors), 1e3 * space.epsilon)


def _first_order(space: FlatManifold, method: str) -> Callable[[str], Finding]:
    tangent, start = space.tangent("step"), space.coordinates(space.point)

    def error_at(step: float) -> float:
        end = space.coordinates(space.move(method, space.point, step * tangent))
        return float(torch.linalg.vector_norm(end - start - step * tangent))

    return by_slope(measure_slope(error_at, 2, float(torch.linalg.vector_norm(start)), space.epsilon))


def _second_order(space: FlatManifold, method: str, claimed: bool | None) -> Callable[[str], Finding]:
    tangent, start = space.tangent("step"), space.coordinates(space.point)

    def error_at(step: float) -> float:
        end = space.move(method, space.point, step * tangent)
        exact = space.move("expmap", space.point, step * tangent)
        # Two points of a quotient that are the same may differ as arrays: their tangent difference does not.
        return float(torch.linalg.vector_norm(space.project(exact, space.coordinates(end) - space.coordinates(exact))))

    slope = measure_slope(error_at, 3, float(torch.linalg.vector_norm(start)), space.epsilon)
    if claimed:
        return by_slope(slope)
    if claimed is None:
        order = "exact" if slope.is_exact else "no slope" if slope.measured is None else f"slope {slope.measured:.2f}"
        return absent(f"not claimed, measured {order}")
    verdict = Verdict.FAILED if slope.passed else Verdict.PASSED
    return lambda name: Finding(name, verdict, slope=slope, note="first order claimed")
