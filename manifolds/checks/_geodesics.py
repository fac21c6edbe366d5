"""Are geodesics critical for the energy of the metric, and do logarithm and distance belong to them?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ._coordinates import FlatManifold
from ._results import Finding, by_error

norm = torch.linalg.vector_norm
# Where these checks walk to: well inside the injectivity radius of common manifolds.
LENGTH = 0.5


def critical_energy(space: FlatManifold) -> Callable[[str], Finding]:
    """Measure how the energy ½∫‖γ'‖² of γ(t) = Exp(tΞ), t ∈ [0, 1], reacts to bending γ with fixed ends.

    The first variation vanishes for geodesics of the metric and for nothing else. Bent curves are
    R_γ(t)(ε sin(πt) H(t)) with H(t) the projection of a vector that at t = 0 is tangent and of norm 1; velocities and
    the derivative in ε are central differences, the integral is Gauss's.
    """
    tangent = LENGTH * space.tangent("exponential")
    epsilon = space.epsilon
    # Both differences divide rounding by their step, the outer one what the inner one has left.
    inner_step, outer_step = epsilon ** (1 / 3), 0.3 * epsilon ** (1 / 6)
    nodes, weights = np.polynomial.legendre.leggauss(7)
    bends = [space.tangent(f"bend {k}") for k in range(3)]

    def energy(bend: Tensor, amount: float) -> float:
        def curve(t: float) -> Tensor:
            middle = space.move("expmap", space.point, t * tangent)
            side = amount * np.sin(np.pi * t) * space.project(middle, bend)
            return space.coordinates(space.move("retr", middle, side))

        total = 0.0
        for node, weight in zip(nodes, weights, strict=True):
            t = float(node + 1) / 2
            # The metric is asked at a point of the manifold, and without the part that a quotient does not see.
            middle = space.at(curve(t))
            speed = space.project(middle, (curve(t + inner_step) - curve(t - inner_step)) / (2 * inner_step))
            total += float(weight) / 4 * float(space.inner(middle, speed, speed))
        return total

    # The bend has norm 1 and the curve LENGTH, and so the derivative would be about LENGTH² for a wrong curve.
    errors = [abs(energy(bend, outer_step) - energy(bend, -outer_step)) / (2 * outer_step) for bend in bends]
    allowed = 1e-4 if epsilon < 1e-10 else 3e-3
    return by_error(max(errors) / LENGTH**2, allowed)


def logarithm(space: FlatManifold) -> Callable[[str], Finding]:
    """Compare Log(Exp(Ξ)) with Ξ."""
    tangent = LENGTH * space.tangent("logarithm")
    end = space.move("expmap", space.point, tangent)
    back = space.flat(space.call("logmap", space.point, end))
    return by_error(float(norm(back - tangent) / LENGTH), 1e4 * space.epsilon)


def exponential(space: FlatManifold) -> Callable[[str], Finding]:
    """Compare Exp(Log(Y)) with Y, as points: by what the tangent space at Y sees of their difference."""
    end = space.move("retr", space.point, LENGTH * space.tangent("logarithm"))
    logarithm = space.flat(space.call("logmap", space.point, end))
    again = space.move("expmap", space.point, logarithm)
    difference = space.project(end, space.coordinates(again) - space.coordinates(end))
    return by_error(float(norm(difference) / norm(space.coordinates(end))), 1e4 * space.epsilon)


def distance(space: FlatManifold) -> Callable[[str], Finding]:
    """Compare the distance to Exp(Ξ) with ‖Ξ‖, and the distance from there with the distance from here."""
    end = space.move("expmap", space.point, LENGTH * space.tangent("logarithm"))
    there, back = space.call("dist", space.point, end), space.call("dist", end, space.point)
    error = max(float((there - LENGTH).abs().max()), float((there - back).abs().max()))
    return by_error(error / LENGTH, 1e4 * space.epsilon)
