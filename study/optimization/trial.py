"""A problem in a setting from a start: what an optimizer is given, and what is watched."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.nn import Parameter

from ...layers import spectral_weights
from ...manifolds import orthogonality_error
from ..arguments import choose, require_known
from ..problems import PROBLEMS, Problem
from ..tasks import DIGITS
from .digits_training import DigitsTraining, training_gap
from .setting import Setting

AnyProblem = Problem | DigitsTraining
PROBLEM_KINDS: Final[dict[str, type[AnyProblem]]] = {**PROBLEMS, DigitsTraining.kind: DigitsTraining}


def problem_of(values: object) -> AnyProblem:
    """Build a problem from plain values, as a TOML file has them: its kind and what differs from its defaults.

    Raises:
        TypeError: the values are no table, or one is not of its kind.
        ValueError: the kind or a key is unknown, or a value out of range.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"problems must be tables such as {{kind = 'procrustes', n = 40, p = 6}}, got {values!r}")
    content: dict[str, Any] = dict(values)
    kind: type[Any] = choose("kind of problem", content.pop("kind", None), PROBLEM_KINDS)
    known = [field.name for field in fields(kind)]
    for key in content:
        require_known(f"key of the problem {kind.kind!r}", key, known)
    problem: AnyProblem = kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    )
    return problem


class Trial(abc.ABC):
    """Parameters at a start, and their loss.

    Attributes:
        parameters: manifold and plain parameters.
    """

    parameters: Sequence[Parameter]

    @abc.abstractmethod
    def loss(self) -> Tensor:
        """Return the loss of the next step, a scalar with a gradient."""

    @abc.abstractmethod
    def gap(self) -> float:
        """Return how far above the optimum the parameters are, relative to the problem's scale."""

    @abc.abstractmethod
    def orthogonality_error(self) -> float:
        """Return the largest ‖XᵀX − I‖_F of any frame."""


@final
class KnownAnswer(Trial):
    """A problem with a known optimum, whose loss is the same whenever the parameters are."""

    def __init__(self, problem: Problem, setting: Setting, seed: int) -> None:
        self._problem = problem
        self._variable = problem.start(setting.manifold_geometry, seed)
        self.parameters = self._variable.parameters

    def loss(self) -> Tensor:
        """Return the cost."""
        return self._problem.cost(self._variable)

    def gap(self) -> float:
        """Return |cost − optimum| / scale: frames that are not quite orthonormal may lie below the optimum."""
        return abs(self._problem.gap(self._variable))

    def orthogonality_error(self) -> float:
        """Return the largest ‖XᵀX − I‖_F of any frame."""
        return max(float(orthogonality_error(frame)) for frame in self._variable.frames())


@final
class Training(Trial):
    """A network in training, whose loss is that of the next batch."""

    def __init__(self, problem: DigitsTraining, setting: Setting, seed: int) -> None:
        self._network = problem.network(setting.manifold_geometry, seed)
        self._batches = DIGITS.batches(seed, problem.batch_size)
        self.parameters = list(self._network.parameters())

    def loss(self) -> Tensor:
        """Return the loss of the next batch."""
        return DIGITS.loss(self._network, next(self._batches))

    def gap(self) -> float:
        """Return the cross-entropy on the training set, divided by log 10."""
        return training_gap(self._network)

    def orthogonality_error(self) -> float:
        """Return the largest ‖XᵀX − I‖_F of any frame."""
        return max(float(weight.orthogonality_error()) for weight in spectral_weights(self._network).values())


def begin(problem: AnyProblem, setting: Setting, seed: int) -> Trial:
    """Return a trial at its start; equal seeds start at one point whatever the setting."""
    # A stock optimizer of torch may draw from the global generator, and nothing here should depend on who came before.
    torch.manual_seed(seed)
    problem = _first(problem)
    return KnownAnswer(problem, setting, seed) if isinstance(problem, Problem) else Training(problem, setting, seed)


@cache
def _first(problem: AnyProblem) -> AnyProblem:
    """Return the first of equal problems, which has its data and its optimum already."""
    return problem
