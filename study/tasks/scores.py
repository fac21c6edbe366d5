"""What a user's own training is scored by: the scores that it has by default, and which functions may be scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.loss import _Loss

from ...manifolds import described

Loss = Callable[[Tensor, Tensor], Tensor]
Score = Callable[[Tensor, Tensor], Any]

_LOSSES: Final = re.compile("loss|entropy|kl_div")


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of targets that have the largest output.

    Raises:
        ValueError: there is one output alone, or none a target.
    """
    if outputs.dim() < 2 or outputs.shape[1] < 2 or outputs[:, 0].shape != targets.shape:
        raise ValueError(
            f"the accuracy needs an output a class, got {tuple(outputs.shape)} for targets {tuple(targets.shape)}"
        )
    return (outputs.argmax(dim=1) == targets).double().mean()


def explained(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return R², the share of the targets' variance that the outputs explain; 0 of targets that are all equal.

    Raises:
        ValueError: the shapes differ.
    """
    error = squared_error(outputs.double(), targets.double())
    around = squared_error(targets.double().mean(dim=0).expand_as(targets), targets.double())
    return torch.where(around > 0, 1 - error / around, 0.0)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error.

    Raises:
        ValueError: the shapes differ.
    """
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs must have the shape of the targets, {tuple(targets.shape)}, got {tuple(outputs.shape)}"
        )
    return F.mse_loss(outputs, targets)


def named_scores(score: Score | Mapping[str, Score] | None, loss: Loss | None) -> dict[str, Score]:
    """Return scores by their names; none for the default."""
    if score is None:
        return {}
    if not isinstance(score, Mapping):
        name = getattr(score, "__name__", type(score).__name__).strip("<>").replace("_", " ")
        score = {"score" if name == "lambda" else name: score}
    for name, function in score.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"score must be a function of outputs and targets, or some by name, got {described(score)}")
    if not score:
        raise ValueError("score must have at least one function, got none; leave it out for the default")
    name, first = next(iter(score.items()))
    if first is loss or isinstance(first, _Loss) or (first in vars(F).values() and _LOSSES.search(first.__name__)):
        raise ValueError(f"score must be larger for better outputs, got the loss {name!r}; give its negative")
    return dict(score)
