"""What the tests of studies share: a tiny study, and made-up results that cost nothing."""

import dataclasses

from sttp.study import Look, Result, Study, Timing
from sttp.study import tasks as _tasks  # noqa: F401 which registers the kind of study

TINY = Study.from_dict(
    {
        "name": "tiny",
        "methods": ["dense", "sttp stiefel"],
        "ranks": [2],
        "learning_rates": [0.01, 0.03],
        "extensions": 1,
        "seeds": [0, 1],
        "steps": 6,
        "batch_size": 16,
        "evaluations": 2,
    }
)


def study_of(*methods, name="s", **values):
    """A study of trainings with these methods."""
    return Study.from_dict({"name": name, "methods": list(methods), **values})


def run_of(method, rate=0.03, seed=0, **values):
    """A run of a method, of a few steps on the digits unless other values say otherwise."""
    study = study_of(method, **{"ranks": [4], "steps": 6, "batch_size": 16, "evaluations": 2, **values})
    return study.run(study.cases[0], rate, seed)


def changed(run, **values):
    """A run with other values of itself, of its case, or of its case's settings."""
    own = {name: values.pop(name) for name in ("learning_rate", "seed") if name in values}
    settings = {name: values.pop(name) for name in list(values) if hasattr(run.case.settings, name)}
    case = dataclasses.replace(run.case, **values, settings=dataclasses.replace(run.case.settings, **settings))
    return dataclasses.replace(run, case=case, **own)


def made_up(run, score=0.5, loss=1.0, diverged_at=None, test=None, z=10.0):
    """A result with a given validation score and loss, as if the run had been made."""
    steps = run.case.steps
    measures = {"validation_score": score, "validation_loss": loss, "orthogonality_error": 1e-7}
    look = Look(steps, measures, {"conv1": (2.0, 1.0)})
    ended = {"test_score": score if test is None else test, "test_loss": loss}
    return Result(
        run=run,
        diverged_at=diverged_at,
        reason=None,
        facts={"z": z, "degrees_of_freedom": 10, "start_error": 0.0},
        losses=(1.0,) * (steps if diverged_at is None else diverged_at),
        looks=(look,) if diverged_at is None else (),
        final=ended if diverged_at is None else {},
        timing=Timing((0.01,) * steps, 1.0, 2**28, 2**27, 1),
        environment={"torch": "0"},
    )


def deterministic(result: Result):
    """All of a result but what differs from one execution to the next."""
    values = result.to_dict()
    return {name: value for name, value in values.items() if name not in ("timing", "environment")}
