"""What a study compares, one run of it, and that run under way."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, final

from ..manifolds import require_integer, require_number
from ._plain import Plain, digest

if TYPE_CHECKING:
    from torch import Tensor

    from .result import Look
    from .surroundings import Surroundings

# Raised when the meaning of a field or a run itself changes: results of another format are other runs.
FORMAT: Final = 3


class Case(abc.ABC):
    """What is compared: everything that decides an outcome but learning rate and seed, each searched or repeated.

    Subclasses are frozen dataclasses; a case equals another one if all its values do. Their module registers a
    :class:`~sttp.study.kind.Kind`, which makes cases of a study's factors.

    Attributes:
        kind: name of the kind of trial.
        steps: most steps that a run makes.
        needs_rate: whether a run has a learning rate.
        measures_memory: whether a run's peak memory is measured, which begins with a tenth of a second of tidying up.
    """

    kind: ClassVar[str]
    measures_memory: ClassVar[bool] = True
    steps: int

    @property
    def needs_rate(self) -> bool:
        """Whether a run has a learning rate."""
        return True

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """The case as readers see it, such as ``STTP stiefel, rank 4``."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Plain]:
        """Return all values as plain ones; they decide a run's identifier, and where they stand in a table."""

    @classmethod
    @abc.abstractmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: something is missing, too much or wrong.
        """

    @abc.abstractmethod
    def begin(self, run: Run, surroundings: Surroundings) -> Trial:
        """Return the trial of a run of this case at its start.

        Raises:
            ValueError: the data is not there or damaged, or does not fit.
        """

    def warm_up(self, run: Run, surroundings: Surroundings) -> None:  # noqa: B027 which need not do anything
        """Do once what the first run of a kind would else be timed with; nothing by default."""


@final
@dataclass(frozen=True)
class Run:
    """A case with a learning rate and a seed. Equal runs have equal outcomes.

    Attributes:
        case: what is run.
        learning_rate: at the first step; None for a case that needs none.
        seed: of the start, and of whatever is drawn.

    Raises:
        TypeError: a value is not of its kind.
        ValueError: a number is out of range, or the case has no learning rate and one is given.
    """

    case: Case
    learning_rate: float | None
    seed: int

    def __post_init__(self) -> None:
        if self.case.needs_rate != (self.learning_rate is not None):
            raise ValueError(
                f"learning_rate must be {'given' if self.case.needs_rate else 'absent'} for {self.case.title!r}, "
                f"got {self.learning_rate!r}"
            )
        if self.learning_rate is not None:
            require_number("learning_rate", self.learning_rate, above=0)
        require_integer("seed", self.seed, least=0)

    @cached_property
    def identifier(self) -> str:
        """Sixteen hexadecimal digits of the run's content; the name of its folder."""
        return digest({"format": FORMAT, **self.to_dict()})

    @property
    def name(self) -> str:
        """The run in words."""
        rate = "" if self.learning_rate is None else f", learning rate {self.learning_rate:g}"
        return f"{self.case.title}{rate}, seed {self.seed}"

    def to_dict(self) -> dict[str, Plain]:
        """Return plain values for JSON."""
        own = {"learning_rate": self.learning_rate, "seed": self.seed}
        return {"kind": self.case.kind, "case": self.case.to_dict(), **own}


class Trial(abc.ABC):
    """A run under way: steps, and looks on the way.

    :func:`~sttp.study.loop.perform` makes them; it alone counts, times and saves.

    Attributes:
        reason: why the trial has ended by itself, set when :meth:`step` returns None.
    """

    reason: str | None = None

    @property
    @abc.abstractmethod
    def look_steps(self) -> Sequence[int] | None:
        """Numbers of steps after which the trial is looked at, 0 and the last among them; None for every step."""

    @abc.abstractmethod
    def step(self, step: int) -> Tensor | float | None:
        """Make the step of this number, counted from 0; return its loss without gradient.

        None says that the trial has ended by itself, and that no step was made. A loss that is not finite, or a
        ``torch.linalg.LinAlgError``, ends the run as one that diverged.
        """

    @abc.abstractmethod
    def look(self, step: int) -> Look:
        """Return what is seen after a number of steps; one that is not finite ends the run as one that diverged."""

    def facts(self) -> dict[str, float | None]:
        """Return what is known from the start."""
        return {}

    def finish(self) -> dict[str, float | None]:
        """Return what is measured but once, at the end."""
        return {}

    def step_seconds(self, step: int) -> float | None:
        """Return the time of a step where the trial measures it itself; None leaves that to the loop."""
        return None

    def state(self) -> dict[str, Any] | None:
        """Return tensors and plain values from which :meth:`restore` goes on; None for a trial that makes anew."""
        return None

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Go on from a state after a number of steps, to the last bit on a CPU."""
        raise NotImplementedError(f"{type(self).__name__} has no state to go on from")

    def samples(self) -> Tensor | None:
        """Return images ``(n, C, H, W)`` in [0, 1] that show where the trial is; None where it makes none."""
        return None

    def scalars(self) -> dict[str, Tensor]:
        """Return losses of the last step by name, for logs."""
        return {}


def equal_distances(steps: int, looks: int) -> list[int]:
    """Return numbers of steps at equal distances, 0 and the last among them."""
    return [round(steps * k / looks) for k in range(looks + 1)]
