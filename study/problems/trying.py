"""One step of what users bring to studies of optimizers, before the first run: what does not fit is said by name."""

from __future__ import annotations

import json
from collections.abc import Iterable

from torch import Tensor

from ..parts import MINIMIZERS, OPTIMIZERS, require_step
from ..random_streams import seeded
from .case import ProblemCase, options_of
from .instance import Instance
from .problem import PROBLEMS


def try_out(cases: Iterable[ProblemCase], seed: int) -> None:
    """Make one step on each problem of a user's, and with each optimizer of a user's.

    Raises:
        ValueError: something raised an exception, or gave something else than is needed.
    """
    tried = set()
    for case in cases:
        kind = str(json.loads(case.problem_json)["kind"])
        is_ours = (MINIMIZERS if case.minimizes else OPTIMIZERS).entry(case.optimizer).is_ours
        key = (case.problem_json, case.optimizer if not is_ours else "", case.options)
        if key in tried or (is_ours and PROBLEMS.entry(kind).is_ours):
            continue
        tried.add(key)
        with seeded(seed):
            try:
                instance = case.problem.begin(case.manifold_geometry, seed)
                loss = _loss(instance)
            except Exception as error:  # a user's function may raise anything
                raise ValueError(
                    f"problem {case.problem_name!r} cannot be begun ({type(error).__name__}: {error})"
                ) from error
            if not case.minimizes and not is_ours:
                require_step(case.optimizer, instance.parameters, loss, **options_of(case.options, "optimizer"))


def _loss(instance: Instance) -> Tensor:
    instance.gap()
    loss = instance.loss()
    if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad or not loss.isfinite():
        raise ValueError(f"its cost must be a tensor of one finite number with a gradient, got {loss!r}")
    return loss
