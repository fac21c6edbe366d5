"""A run under way: what each kind of run must know, and the engine's loop asks for."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .result import Look


class Trial(abc.ABC):
    """Steps, and looks on the way. :func:`~sttp.study.loop.perform` makes them; it alone counts, times and saves.

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
