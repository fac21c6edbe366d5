"""The limited-memory BFGS method on a product of manifolds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor

from ...manifolds import require_integer
from ._line_search import WolfeSearch, require_search
from ._method import Iterate, Method
from ._problem import Evaluation, Problem
from ._space import ParameterSpace

# A pair is kept if ⟨s, y⟩/‖s‖² is at least this times the gradient's norm relative to that at the start.
_CAUTION: Final = 1e-6


@final
@dataclass(frozen=True)
class LBFGS(Method):
    """X ← R_X(−tHg), where H is the BFGS inverse Hessian of the last pairs (s, y) of steps and gradient changes.

    All pairs are carried to each new point by the retraction's transport, in one batch, and their products are taken
    anew there, since the transport need not keep them. A pair is used while its curvature ⟨s, y⟩ is clearly
    positive, which keeps H positive definite (the cautious update of Li and Fukushima 2001; on manifolds Huang,
    Gallivan, Absil 2015). Most iterations take one evaluation of cost and gradient, the transport of ``2 · memory``
    vectors and the two-loop recursion (Nocedal, Wright 2006, Alg. 7.4).

    Attributes:
        memory: number of pairs.
        search: the line search.

    Raises:
        ValueError: the memory is not positive; without one use ``SteepestDescent()``.
        TypeError: it is no integer, or the search is none.
    """

    memory: int = 10
    search: WolfeSearch = field(default_factory=WolfeSearch)

    def __post_init__(self) -> None:
        require_integer("memory", self.memory, least=1)
        require_search(self.search)

    def iterates(self, problem: Problem, start: Evaluation) -> Iterator[Iterate]:
        """Yield the iterates; see the base class."""
        space, here, pairs = problem.space, start, None
        while True:
            direction = -here.gradient if pairs is None else -pairs.inverse_hessian(space, here)
            slope = float(space.inner(here.point, here.gradient, direction))
            norm = space.norm(here.point, direction)
            first = 1 / norm if pairs is None else 1.0
            trial = self.search.search(problem, here, direction, slope, first) if slope < 0 else None
            if trial is None:
                if pairs is None:
                    return
                pairs = None  # begin anew with the gradient
                continue
            there, step, length = trial.evaluation, trial.length * direction, trial.length * norm
            vectors = torch.stack((step, here.gradient)).unsqueeze(1)
            if pairs is not None:
                vectors = torch.cat((pairs.vectors, vectors), dim=1)[:, -self.memory :]
            moved = space.transport(here.point, step, there.point, vectors)
            moved[1, -1] = there.gradient - moved[1, -1]
            caution = _CAUTION * min(1.0, there.gradient_norm / start.gradient_norm)
            pairs = _Pairs.kept(space, there.point, moved, caution)
            here = there
            yield Iterate(here, length)


@final
@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of steps s and gradient changes y, the oldest first, all at one point.

    Attributes:
        vectors: s and y of all pairs, ``(2, m, N)``, m at least 1.
        curvatures: ⟨s, y⟩ of each pair.
        scale: ⟨s, y⟩/‖y‖² of the last one.
    """

    vectors: Tensor
    curvatures: list[float]
    scale: float

    @staticmethod
    def kept(space: ParameterSpace, point: Tensor, vectors: Tensor, caution: float) -> _Pairs | None:
        """Return the pairs whose curvature is at least ``caution`` · ‖s‖‖y‖, and positive; None if there are none."""
        left, right = vectors[[0, 0, 1]], vectors[[1, 0, 1]]
        curvatures, steps, changes = space.inner(point, left, right).tolist()
        kept = [
            index
            for index, (curvature, step, change) in enumerate(zip(curvatures, steps, changes, strict=True))
            if curvature > caution * (step * change) ** 0.5
        ]
        if not kept:
            return None
        if len(kept) < len(curvatures):
            vectors = vectors[:, kept]
        return _Pairs(vectors, [curvatures[index] for index in kept], curvatures[kept[-1]] / changes[kept[-1]])

    def inverse_hessian(self, space: ParameterSpace, at: Evaluation) -> Tensor:
        """Return H times the gradient, by the two-loop recursion."""
        result = at.gradient
        pairs = list(zip(*(vectors.unbind() for vectors in self.vectors), self.curvatures, strict=True))
        shares: list[Tensor] = []
        for step, change, curvature in reversed(pairs):
            share = space.inner(at.point, step, result) / curvature
            result = result - share * change
            shares.append(share)
        result = self.scale * result
        for step, change, curvature in pairs:
            result = result + (shares.pop() - space.inner(at.point, change, result) / curvature) * step
        return result
