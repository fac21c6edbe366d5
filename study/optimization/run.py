"""A run: everything that decides the outcome of one minimization."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, Self, final

from ..arguments import require_integer, require_positive
from .setting import Setting
from .trial import AnyProblem, problem_of

# Raised when the meaning of a field or the run itself changes: results of another format are other runs.
FORMAT: Final = 1


@final
@dataclass(frozen=True)
class OptimizationRun:
    """A problem, a setting, a start and a budget. Equal runs have equal outcomes.

    Attributes:
        problem: what is minimized.
        setting: how.
        learning_rate: at the first step, from which it falls to 0 by a half cosine; None for methods of ``minimize``.
        seed: of the start.
        steps: number of steps, or the most iterations of a method of ``minimize``.
        looks: how often the gap is read on the way, at equal distances, and once before; after each iteration of a
            method of ``minimize``.

    Raises:
        ValueError: a number is out of range, or the setting does not fit the problem or its learning rate.
        TypeError: a value is not of its kind.
    """

    problem: AnyProblem
    setting: Setting
    learning_rate: float | None
    seed: int
    steps: int
    looks: int

    def __post_init__(self) -> None:
        if self.setting.is_deterministic != (self.learning_rate is None):
            raise ValueError(
                f"learning_rate must be {'absent' if self.setting.is_deterministic else 'given'} with the optimizer "
                f"{self.setting.optimizer!r}, got {self.learning_rate!r}"
            )
        if self.learning_rate is not None:
            require_positive("learning_rate", self.learning_rate)
        require_integer("seed", self.seed)
        for name in ("steps", "looks"):
            require_integer(name, getattr(self, name), minimum=1)

    @cached_property
    def identifier(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the run's content; the name of its folder."""
        content = json.dumps({"format": FORMAT, **self.to_dict()}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The run in words."""
        rate = "" if self.learning_rate is None else f", learning rate {self.learning_rate:g}"
        return f"{self.setting} on {self.problem.name}{rate}, seed {self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "problem": self.problem.to_dict(),
            "setting": asdict(self.setting),
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "steps": self.steps,
            "looks": self.looks,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: something is missing, too much or wrong.
        """
        content = dict(data)
        problem, setting = problem_of(content.pop("problem")), Setting(**content.pop("setting"))
        return cls(problem=problem, setting=setting, **content)
