"""Trust regions on a product of manifolds, with exact Hessian products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from ...manifolds import require_function, require_integer, require_number
from ._method import Iterate, Method
from ._problem import Evaluation, Problem
from ._truncated_cg import truncated_conjugate_gradient

Preconditioner = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]

# Multiples of the cost's rounding unit below which a decrease says nothing about the model: Manopt has the same.
_UNTRUSTED: Final = 1e3
# The ratio of actual to predicted decrease below which the radius shrinks, and above which it may grow
# (Absil, Baker, Gallivan 2007, Alg. 1).
_POOR: Final = 0.25
_GOOD: Final = 0.75


@final
@dataclass(frozen=True)
class TrustRegions(Method):
    """Each step minimizes the second-order model of f∘R in a ball (Absil, Baker, Gallivan 2007).

    The ball's radius follows how well the model foretells the decrease. The Hessian is the Riemannian one on Stiefel
    and Grassmann, Euclidean space and wherever the retraction is of second order; elsewhere it is that of f∘R at 0, and
    under the embedded metric that of f along geodesics of each frame. All come from a second backward pass and are
    exact. Near a minimum with a positive definite Hessian the order of convergence is min(1 + θ, 2). Where the
    predicted decrease is below the cost's rounding, a step is taken if the decrease still is what it should be, or else
    if the gradient's norm falls. An iteration takes one evaluation of cost and gradient, and as many Hessian products,
    each about two gradients, as its model asks for.

    Attributes:
        kappa: κ, the relative residual to which the model is minimized far from a critical point.
        theta: θ, by which that residual falls with the gradient's norm.
        acceptance: the least ratio of actual to predicted decrease at which a step is taken, below ¼.
        initial_radius: by default the eighth of the largest.
        largest_radius: by default √p for each frame of p columns and √N for N other entries, together.
        max_products: the most Hessian products an iteration; by default the space's dimension.
        preconditioner: maps a tangent vector, one tensor for each parameter in their order, to another; symmetric and
            positive definite in the metric, like an approximate inverse Hessian. The parameters are at the iterate.

    Raises:
        ValueError: a setting is out of range.
        TypeError: it is of the wrong kind.
    """

    kappa: float = 0.1
    theta: float = 1.0
    acceptance: float = 0.1
    initial_radius: float | None = None
    largest_radius: float | None = None
    max_products: int | None = None
    preconditioner: Preconditioner | None = None

    second_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_number("kappa", self.kappa, above=0.0, below=1.0)  # the source has 0.1, as for the acceptance
        require_number("theta", self.theta, above=0.0)
        require_number("acceptance", self.acceptance, least=0.0, below=_POOR)
        for name in ("initial_radius", "largest_radius"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), above=0.0)
        if self.max_products is not None:
            require_integer("max_products", self.max_products, least=1)
        if self.preconditioner is not None:
            require_function("preconditioner", self.preconditioner, "a function of tangent vectors")

    def iterates(self, problem: Problem, start: Evaluation) -> Iterator[Iterate]:
        """Yield the iterates; see the base class."""
        space, here = problem.space, start
        largest = self.largest_radius or space.extent
        radius = min(self.initial_radius or largest / 8, largest)
        while True:
            point = here.point
            model = truncated_conjugate_gradient(
                space.project(point, here.gradient),
                here.hessian,
                partial(space.inner, point),
                radius,
                self._precondition(problem, here),
                self.kappa,
                self.theta,
                self.max_products or space.dimension,
                problem.epsilon * float(torch.linalg.vector_norm(here.euclidean_gradient)),
            )
            half = model.hessian_step / 2 + here.gradient
            predicted = -float(space.inner(point, half, model.step))
            there = problem.evaluate(space.retract(point, model.step))
            rounding = _UNTRUSTED * problem.epsilon * problem.magnitude
            decrease = here.cost - there.cost if math.isfinite(there.cost) else -math.inf
            if predicted > rounding:
                ratio = (decrease + rounding) / (predicted + rounding)
            elif _POOR * predicted < decrease < predicted / _POOR or there.gradient_norm < here.gradient_norm:
                ratio = 1.0
            else:
                return
            if ratio < _POOR:
                radius /= 4
            elif ratio > _GOOD and model.at_boundary:
                radius = min(2 * radius, largest)
            if ratio > self.acceptance:
                here = there
                yield Iterate(here, space.norm(point, model.step))
            else:
                yield Iterate(here, 0.0)

    def _precondition(self, problem: Problem, here: Evaluation) -> Callable[[Tensor], Tensor] | None:
        """Return the preconditioner as a map of tangent vectors."""
        preconditioner, space = self.preconditioner, problem.space
        if preconditioner is None:
            return None
        problem.visit(here)
        return lambda u: space.project(here.point, space.flat(preconditioner(space.tensors(u))))
