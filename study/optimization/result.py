"""What a run leaves behind, and its form on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, final

from .run import FORMAT, OptimizationRun

# Gaps below this are one: the accuracy that float64 leaves in a cost.
SOLVED: Final = 1e-12


@final
@dataclass(frozen=True)
class OptimizationTiming:
    """What a run cost; unlike all else it differs from one execution to the next.

    Attributes:
        seconds: wall-clock time up to each look, without the looks.
        threads: number of threads of torch.
    """

    seconds: tuple[float, ...]
    threads: int


@final
@dataclass(frozen=True)
class OptimizationResult:
    """The outcome of a run, a look an entry, the first of them at the start.

    Attributes:
        run: what was run.
        steps: number of steps or iterations made.
        evaluations: of the cost with its gradient, and of Hessian products: one a step, several an iteration.
        operations: floating-point operations in matrix products and convolutions, cost and gradient included.
            Factorizations and triangular solves are not counted.
        gaps: how far above the optimum, relative to the problem's scale.
        orthogonality_errors: largest ‖XᵀX − I‖_F of any frame.
        diverged_at: the step at which the loss was not finite, which ended the run, 0 where the optimizer refused the
            learning rate; None for a run that went well.
        reason: why a method of ``minimize`` stopped or an optimizer refused; None for others.
        timing: what it cost.
        environment: versions of what it ran on.
    """

    run: OptimizationRun
    steps: tuple[int, ...]
    evaluations: tuple[int, ...]
    operations: tuple[int, ...]
    gaps: tuple[float, ...]
    orthogonality_errors: tuple[float, ...]
    diverged_at: int | None
    reason: str | None
    timing: OptimizationTiming
    environment: dict[str, str]

    @property
    def diverged(self) -> bool:
        """Whether the loss was not finite at some step."""
        return self.diverged_at is not None

    @property
    def shortfalls(self) -> tuple[float, ...]:
        """At each look the gap, or the orthogonality error where that is larger: off the manifold nothing is solved."""
        return tuple(map(max, self.gaps, self.orthogonality_errors))

    @property
    def final_gap(self) -> float:
        """The last shortfall, not below 1e-12; infinite for a run that diverged."""
        return math.inf if self.diverged else max(self.shortfalls[-1], SOLVED)

    @property
    def orthogonality_error(self) -> float:
        """The largest at any look."""
        return max(self.orthogonality_errors)

    def cost_to(self, tolerance: float, measure: str) -> float:
        """Return what it cost until the shortfall was at most the tolerance; infinite if it never was.

        Args:
            tolerance: the shortfall.
            measure: ``"evaluations"``, ``"operations"`` or ``"seconds"``.
        """
        for cost, gap in zip(self.costs(measure), self.shortfalls, strict=True):
            if gap <= tolerance:
                return cost
        return math.inf

    def costs(self, measure: str) -> tuple[float, ...]:
        """Return the cost up to each look in one of the measures of :meth:`cost_to`."""
        if measure == "seconds":
            return self.timing.seconds
        return {"evaluations": self.evaluations, "operations": self.operations}[measure]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {name: value for name, value in vars(self).items() if name not in ("run", "timing")}
        return {"format": FORMAT, "run": self.run.to_dict(), **values, "timing": asdict(self.timing)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ValueError: the format is another one.
            KeyError, TypeError: something is missing, or there is too much.
        """
        content = dict(data)
        written = content.pop("format")
        if written != FORMAT:
            raise ValueError(f"format must be {FORMAT}, got {written!r}")
        timing = dict(content.pop("timing"))
        content["run"] = OptimizationRun.from_dict(content["run"])
        for name in ("steps", "evaluations", "operations", "gaps", "orthogonality_errors"):
            content[name] = tuple(content[name])
        timing = {**timing, "seconds": tuple(timing["seconds"])}
        return cls(**content, timing=OptimizationTiming(**timing))
