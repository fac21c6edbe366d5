"""A cost function of parameters as a function of points, with gradients and Hessian products on demand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

import torch
from torch import Tensor

from ._result import Evaluations
from ._space import ParameterSpace

# Multiples of the Euclidean gradient's rounding unit that the projection to the tangent space leaves.
_ROUNDING: Final = 5.0


@final
class Problem:
    """A cost, the space of its parameters, and the counts of what was computed.

    Args:
        cost: takes nothing and returns a scalar tensor computed from the parameters.
        space: the parameters.
        second_order: whether gradients keep their graph for Hessian products.

    Attributes:
        magnitude: the largest |cost| of an iterate, to which its rounding is proportional.
    """

    def __init__(self, cost: Callable[[], Tensor], space: ParameterSpace, second_order: bool) -> None:
        self.cost = cost
        self.space = space
        self.second_order = second_order
        self.epsilon = float(torch.finfo(space.parameters[0].dtype).eps)
        self.magnitude = 0.0
        self.costs = 0
        self.gradients = 0
        self.hessian_products = 0
        self._present: Evaluation | None = None

    def evaluate(self, point: Tensor) -> Evaluation:
        """Move the parameters to a point and compute the cost there.

        Raises:
            TypeError: the cost is no real scalar tensor.
            ValueError: the cost does not depend on the parameters.
        """
        evaluation = Evaluation(self, point)
        self.visit(evaluation)
        return evaluation

    def visit(self, evaluation: Evaluation) -> None:
        """Move the parameters to where an evaluation was made, and make it again if they were elsewhere."""
        if self._present is evaluation:
            return
        self._present = None
        self.space.write(evaluation.point)
        with torch.enable_grad():
            loss = self.cost()
        self.costs += 1
        _require_valid(loss)
        evaluation.loss = loss
        evaluation.cost = float(loss.detach())
        evaluation._graph = []
        self._present = evaluation

    def accept(self, evaluation: Evaluation) -> None:
        """Take an evaluation for an iterate, which a trial that exploded is not: its cost sets what rounding is."""
        if math.isfinite(evaluation.cost):
            self.magnitude = max(self.magnitude, abs(evaluation.cost))

    def settle(self, evaluation: Evaluation) -> None:
        """Move the parameters to where an evaluation was made, without a new one."""
        if self._present is not evaluation:
            self._present = None
            self.space.write(evaluation.point)

    def leave(self) -> None:
        """Forget the last evaluation and its graph."""
        self._present = None

    @property
    def evaluations(self) -> Evaluations:
        """The counts so far."""
        return Evaluations(self.costs, self.gradients, self.hessian_products)


@final
class Evaluation:
    """The cost at one point, and its gradient once it is asked for.

    Attributes:
        point: the point ``(N,)``.
        cost: the cost.
        loss: the cost with its graph.
    """

    def __init__(self, problem: Problem, point: Tensor) -> None:
        self.problem = problem
        self.point = point
        self.cost = math.nan
        self.loss: Tensor | None = None
        self._graph: list[Tensor | None] = []
        self._euclidean: Tensor | None = None
        self._gradient: Tensor | None = None
        self._norm: float | None = None

    @property
    def euclidean_gradient(self) -> Tensor:
        """The Euclidean gradient ``(N,)``."""
        if self._euclidean is None:
            self._differentiate()
        assert self._euclidean is not None
        return self._euclidean

    @property
    def gradient(self) -> Tensor:
        """The Riemannian gradient ``(N,)``."""
        if self._gradient is None:
            self._gradient = self.problem.space.gradient(self.point, self.euclidean_gradient)
        return self._gradient

    @property
    def gradient_norm(self) -> float:
        """The norm of the Riemannian gradient."""
        if self._norm is None:
            self._norm = self.problem.space.norm(self.point, self.gradient)
        return self._norm

    @property
    def gradient_is_rounding(self) -> bool:
        """Whether the Riemannian gradient is what rounding leaves of a Euclidean one that is normal to the space."""
        size = float(torch.linalg.vector_norm(self.euclidean_gradient))
        return self.gradient_norm <= _ROUNDING * self.problem.epsilon * size

    def hessian(self, tangent: Tensor) -> Tensor:
        """Return the product of the Riemannian Hessian with a tangent vector, by a second backward pass."""
        problem, space = self.problem, self.problem.space
        self._require_graph()
        pairs = [
            (gradient, direction)
            for gradient, direction in zip(self._graph, space.tensors(tangent), strict=True)
            if gradient is not None and gradient.requires_grad
        ]
        problem.hessian_products += 1
        derivatives: tuple[Tensor | None, ...] = (None,) * len(space.parameters)
        if pairs:
            outputs, directions = zip(*pairs, strict=True)
            derivatives = torch.autograd.grad(
                outputs, space.parameters, directions, retain_graph=True, allow_unused=True
            )
        return space.hessian(self.point, self.euclidean_gradient, space.flat(derivatives), tangent)

    def _require_graph(self) -> None:
        """Build the gradient's graph, again if the parameters have been elsewhere since."""
        stale = self.problem._present is not self
        if stale or not self._graph:
            self._differentiate()

    def _differentiate(self) -> None:
        problem = self.problem
        problem.visit(self)
        assert self.loss is not None
        with torch.set_grad_enabled(problem.second_order):
            gradients = torch.autograd.grad(
                self.loss, problem.space.parameters, create_graph=problem.second_order, allow_unused=True
            )
        problem.gradients += 1
        self._graph = list(gradients) if problem.second_order else []
        self.loss = None
        flat = problem.space.flat([None if gradient is None else gradient.detach() for gradient in gradients])
        self._euclidean = flat


def _require_valid(loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        got = f"shape {tuple(loss.shape)} and {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"cost must return a real scalar tensor, got {got}; reduce it with .sum() or .mean()")
    if not loss.requires_grad:
        raise ValueError(
            "cost must depend on parameters, got a tensor without a graph; compute it from the parameters themselves, "
            "not from copies, .detach() or .data, and not under torch.no_grad()"
        )
