"""One step of what users bring to studies of optimizers, before the first run: what does not fit is said by name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from torch import Tensor

from ..parts import MINIMIZERS, OPTIMIZERS, build_optimizer
from ..random_streams import seeded
from .case import ProblemCase, options_of
from .problem import PROBLEMS

# A learning rate that all optimizers take.
ANY_RATE: Final = 1e-3


def try_out(cases: Iterable[ProblemCase], seed: int) -> None:
    """Make one step on each problem of a user's, and with each optimizer of a user's.

    Raises:
        ValueError: something raised an exception, or gave something else than is needed.
    """
    tried = set()
    for case in cases:
        kind = str(json.loads(case.problem_json)["kind"])
        is_ours = (MINIMIZERS if case.minimizes else OPTIMIZERS).entry(case.optimizer).is_ours
        key = (case.problem_json, "" if is_ours else case.optimizer, case.options)
        if key in tried or (is_ours and PROBLEMS.entry(kind).is_ours):
            continue
        tried.add(key)
        what = f"problem {case.problem_name!r} cannot be begun"
        with seeded(seed):
            try:
                instance = case.problem.begin(case.manifold_geometry, seed)
                instance.gap()
                loss = instance.loss()
                if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad or not loss.isfinite():
                    raise ValueError(f"its cost must be a tensor of one finite number with a gradient, got {loss!r}")
                if not case.minimizes and not is_ours:
                    what = f"optimizer {case.optimizer!r}, called with parameters and lr=, cannot make a step()"
                    options = options_of(case.options, "optimizer")
                    optimizer = build_optimizer(case.optimizer, instance.parameters, ANY_RATE, **options)
                    loss.backward()
                    optimizer.step()
            except Exception as error:  # a user's function may raise anything
                raise ValueError(f"{what} ({type(error).__name__}: {error})") from error
