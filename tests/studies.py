"""What the tests of trainings share: a tiny study, and runs that are interrupted."""

import dataclasses

import pytest

from sttp.study import Result, Study, Surroundings
from sttp.study import loop as loop_module
from sttp.study import tasks as _tasks  # noqa: F401 which registers the kind of study
from sttp.study.loop import perform

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


def deterministic(result: Result):
    """All of a result but what differs from one execution to the next."""
    values = result.to_dict()
    return {name: value for name, value in values.items() if name not in ("timing", "environment")}


def interrupted(run, folder, monkeypatch, after):
    """The result of a run that is ended after a number of steps, with a checkpoint after each, and then resumed."""
    write, written = loop_module.write_checkpoint, []

    def dying(*arguments):
        write(*arguments)
        written.append(arguments[-1]["step"])
        if len(written) == after:
            raise KeyboardInterrupt

    surroundings = Surroundings(folder=str(folder), checkpoint_seconds=1e-9)
    monkeypatch.setattr(loop_module, "write_checkpoint", dying)
    with pytest.raises(KeyboardInterrupt):
        perform(run, surroundings)
    resumed = perform(run, surroundings)
    assert written == list(range(1, run.case.steps + 1))
    return resumed
