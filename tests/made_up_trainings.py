"""Studies of trainings whose results cost nothing."""

import json

import numpy as np

from sttp.study import KINDS, Study
from sttp.study.result import Look, Result, Timing
from sttp.study.schedule import chosen_runs, pending_runs
from sttp.study.tasks import METHODS, Method
from sttp.study.tasks.report import content_of
from sttp.study.turns import Turn

STEPS = 40
OURS = ("dense", "svdp stiefel", "sttp stiefel", "sttp grassmann", "sttp householder-reduced")
SPECTRA = {"first": (4.0, 3.0), "last": (2.0, 1.0)}

METHODS.add("folded", Method("folded", build=lambda network, rank: network, title="Folded layers"))
METHODS.add("pruned", Method("pruned", build=lambda network: network))
THEIRS = ("folded", "pruned")


def study_of(methods=OURS, **others):
    values = {"name": "made-up", "methods": list(methods), "learning_rates": [0.03], "extensions": 0, "steps": STEPS}
    return Study.from_dict({"seeds": [0, 1, 2, 3], "ranks": [2, 4], **values, **others})


def made_up(run, score=0.9, diverged_at=None, start=SPECTRA, end=SPECTRA, z=None, losses=None):
    """Make up the result of a run."""
    case = run.case
    noise = 0.001 * np.random.default_rng(int(run.identifier, 16) % 2**32).standard_normal()
    size = (
        (6.0 * case.rank * (1.5 if case.parameterization == "svdp" else 1.0) if case.rank else 100.0)
        if z is None
        else z
    )
    error = None if case.geometry is None else 1e-7 * case.rank
    measures = {"validation_score": score, "validation_loss": 1.0, "orthogonality_error": error}
    looks = tuple(Look(step, measures, values) for step, values in ((0, start), (case.steps, end)))
    spent = case.steps if diverged_at is None else diverged_at
    losses = tuple(np.exp(-np.arange(spent) / 20) + 0.1) if losses is None else losses
    return Result(
        run=run,
        diverged_at=diverged_at,
        reason=None,
        facts={"z": size, "degrees_of_freedom": 10, "start_error": None},
        losses=losses[:spent],
        looks=looks,
        final={} if diverged_at is not None else {"test_score": score + noise, "test_loss": 0.5},
        timing=Timing((0.01,) * spent, 1.0, 2**28, 2**27, 1),
        environment={"torch": "0"},
    )


def results_of(study, make=made_up):
    """Make up all results of a study."""
    results = {}
    while runs := pending_runs(study, results):
        results |= {run: make(run) for run in runs}
    return results


def turns_of(study, results, milliseconds, spread=0.01):
    """Make up times in turns: a function of a case, with a spread relative to it that differs from case to case."""
    found = []
    for case in study.cases:
        middle, sign = 1e-3 * milliseconds(case), -1 if case.geometry == "grassmann" else 1
        times = tuple(middle * (1 + sign * spread * k / 2) for k in range(-4, 5))
        found.append(Turn(chosen_runs(study, case, results)[0].identifier, times, 1.5))
    return tuple(found)


def content(study, results=None, turns=(), **presented):
    """Return the content as a folder would have it drawn again: from JSON, without the code of any method."""
    results = results_of(study) if results is None else results
    presentation = json.loads(json.dumps(KINDS["training"].presentation(study) | presented))
    stored = Study.from_dict(json.loads(json.dumps(study.to_dict())), study.assigned)
    return content_of(stored, results, presentation, turns)


def found_in(study, make=made_up, turns=()):
    """Return the findings of made-up results as one text."""
    return "\n".join(content(study, results_of(study, make), turns).findings)
