"""Nonlinear conjugate gradients on a product of manifolds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

import torch

from ...manifolds import require_instance
from ._conjugacy import ConjugacyRule, HestenesStiefel, Products
from ._line_search import WolfeSearch, require_search
from ._method import Iterate, Method
from ._problem import Evaluation, Problem

# The cosine between direction and −gradient below which a direction does not count as one of descent.
_LEAST_DESCENT: Final = 1e-8


@final
@dataclass(frozen=True)
class ConjugateGradient(Method):
    """d ← −g + βd, with the last direction d carried to the new point (Sato 2022, SIAM J. Optim. 32).

    Most iterations take one or two evaluations of cost and gradient, and the transport of two vectors. The
    method begins anew with −g where d is no direction of descent or the search along it finds nothing.

    Attributes:
        rule: ``HestenesStiefel()``, ``PolakRibiere()``, ``FletcherReeves()`` or ``HagerZhang()``.
        search: the line search; ``FletcherReeves()`` wants a curvature constant below ½ (Al-Baali 1985).
    """

    rule: ConjugacyRule = field(default_factory=HestenesStiefel)
    search: WolfeSearch = field(default_factory=lambda: WolfeSearch(curvature=0.25))

    def __post_init__(self) -> None:
        require_instance("rule", self.rule, ConjugacyRule, "an object such as HestenesStiefel() or HagerZhang()")
        require_search(self.search)

    def iterates(self, problem: Problem, start: Evaluation) -> Iterator[Iterate]:
        """Yield the iterates; see the base class."""
        space = problem.space
        here, direction = start, -start.gradient
        slope = -(here.gradient_norm**2)
        norm = here.gradient_norm
        is_fresh, length = True, 1 / norm
        while True:
            trial = self.search.search(problem, here, direction, slope, length)
            if trial is None:
                if is_fresh:
                    return
                direction, slope, is_fresh = -here.gradient, -(here.gradient_norm**2), True
                length, norm = length * norm / here.gradient_norm, here.gradient_norm
                continue
            there, step = trial.evaluation, trial.length * direction
            carried = torch.stack((direction, here.gradient))
            moved, old = space.transport(here.point, step, there.point, carried)
            new = there.gradient
            change = new - old
            left = torch.stack((new, new, change, change))
            right = torch.stack((change, moved, change, moved))
            new_change, new_direction, change_change, change_direction = space.inner(there.point, left, right).tolist()
            new_new, old_old = there.gradient_norm**2, here.gradient_norm**2
            products = Products(
                new_new, new_change, new_direction, change_change, change_direction, old_old, direction_norm=norm
            )
            share = self.rule.share(products)
            next_slope = -products.new_new + share * products.new_direction
            direction = -new + share * moved if math.isfinite(share) else -new
            length, step_norm = trial.length, trial.length * norm
            norm = space.norm(there.point, direction)
            is_fresh = not math.isfinite(share) or not next_slope < -_LEAST_DESCENT * there.gradient_norm * norm
            if is_fresh:
                direction, next_slope, norm = -new, -products.new_new, there.gradient_norm
            slope, here = next_slope, there
            yield Iterate(here, step_norm)
