"""Whether training had come to its end when its steps did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ..schedule import Results
from .reached import chosen_results

if TYPE_CHECKING:
    from ..definition import Study

SHARE: Final = 10  # of the steps that are compared, at the end and right before: a tenth
FEWEST: Final = 5  # steps in a tenth, below which noise decides
LEAST: Final = 0.1  # by which a loss must have fallen from one tenth to the next, relative to the former
ERRORS: Final = 3.0  # standard errors by which it must have fallen: what noise alone hardly does
NAMED: Final = 4  # cases that are listed by name


def still_falling(study: Study, results: Results, names: Mapping[str, str] | None = None) -> str | None:
    """Return a sentence on the cases whose loss still falls at the last step; None where there are none.

    Args:
        study: what was compared.
        results: of all finished runs.
        names: what titles of cases are called, where not as they are.

    A case is one of them where, averaged over seeds, the mean loss of the last tenth of the steps is clearly below that
    of the tenth before.
    """
    falls = {}
    for case in study.cases:
        reached = chosen_results(study, case, results)
        losses = [result.losses for result in reached if not result.diverged and result.losses]
        fall = _fall(losses)
        if fall is not None:
            falls[(names or {}).get(case.title, case.title)] = fall
    if not falls:
        return None
    steepest = sorted(falls, key=lambda title: -falls[title])
    named = [f"{title} ({100 * falls[title]:.0f} %)" for title in steepest[:NAMED]]
    if len(steepest) > NAMED:
        named.append(f"{len(steepest) - NAMED} others by less")
    return (
        f"The loss was still falling at the last step in {len(falls)} of {len(study.cases)} cases, and with "
        f"more steps these might compare differently. Its mean over the last tenth of the steps is below that over the "
        f"tenth before for: {'; '.join(named)}."
    )


def _fall(losses: Sequence[Sequence[float]]) -> float | None:
    """Return by what share of itself the mean loss has fallen from one tenth to the next; None if not clearly."""
    steps = min(map(len, losses), default=0)
    width = steps // SHARE
    if width < FEWEST:
        return None
    mean = np.mean([run[:steps] for run in losses], axis=0)
    before, last = mean[-2 * width : -width], mean[-width:]
    fall = before.mean() - last.mean()
    error = np.sqrt((before.var(ddof=1) + last.var(ddof=1)) / width)
    share = fall / abs(before.mean()) if before.mean() else 0.0
    return float(share) if fall > ERRORS * error and share > LEAST else None
