"""What a full-batch method is: it walks from a point and yields each point it comes to."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

from ._problem import Evaluation, Problem


@final
@dataclass(frozen=True)
class Iterate:
    """Where a method is after an iteration.

    Attributes:
        evaluation: the cost and the gradient there.
        step: the norm of the step that led there; 0 where a step was refused.
    """

    evaluation: Evaluation
    step: float


class Method(abc.ABC):
    """A method with its settings; it keeps no state, so that one object serves any number of problems.

    Attributes:
        second_order: whether it asks for Hessian products.
    """

    second_order: ClassVar[bool] = False

    @abc.abstractmethod
    def iterates(self, problem: Problem, start: Evaluation) -> Iterator[Iterate]:
        """Yield one :class:`Iterate` an iteration, and end where no further decrease can be found."""
