"""A kind of study from outside the package: descents of a parabola that take microseconds, with steps by name."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import pandas as pd
import torch

from sttp.study.case import Case, Trial
from sttp.study.definition import Study
from sttp.study.kind import KINDS, Kind
from sttp.study.register import Register, callable_thing
from sttp.study.report.content import Content, Section, Table
from sttp.study.result import Look, Result, Timing
from sttp.study.schedule import chosen_runs
from sttp.study.search import GridSearch

STEPS = Register("toy step", callable_thing)


@STEPS.add("plain")
def plain(value, rate):
    """A step of gradient descent on value² / 2."""
    return value - rate * value


@STEPS.add("halving", title="Halving")
def halving(value, rate):
    """A step that needs no rate."""
    return value / 2


@dataclass(frozen=True)
class ToyCase(Case):
    kind: ClassVar[str] = "toy"
    step: str
    size: int
    steps: int
    noise: float
    pause: float

    @property
    def needs_rate(self):
        return self.step != "halving"

    @property
    def title(self):
        return f"{STEPS.title(self.step)}, size {self.size}"

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        return cls(**values)

    def begin(self, run, surroundings):
        return ToyTrial(run)


class ToyTrial(Trial):
    def __init__(self, run):
        self.case, self.rate = run.case, run.learning_rate or 0.0
        self.make = STEPS[run.case.step]
        self.value = 1.0 + run.seed / 10

    @property
    def look_steps(self):
        return (0, self.case.steps // 2, self.case.steps)

    def step(self, step):
        if self.case.pause:
            time.sleep(self.case.pause)
        self.value = self.make(self.value, self.rate) + self.case.noise * torch.rand(()).item()
        return self.case.size * self.value * self.value / 2

    def look(self, step):
        return Look(step, {"gap": self.value * self.value}, {"only": (abs(self.value),)})

    def facts(self):
        return {"z": float(self.case.size)}

    def finish(self):
        return {"test_loss": self.value * self.value}

    def state(self):
        return {"value": self.value}

    def restore(self, state, step):
        self.value = state["value"]


class ToyKind(Kind):
    name = "toy"
    case_type = ToyCase
    defaults: ClassVar = {"step": "plain", "size": 1, "steps": 6, "noise": 0.0, "pause": 0.0}
    short_forms: ClassVar = {"takes": "step", "sizes": "size"}
    strategy = GridSearch((0.1, 0.3), extensions=1)
    open_parts = ("step",)

    def case(self, values):
        STEPS.entry(values["step"], "step")
        if not isinstance(values["size"], int):
            raise TypeError(f"size must be an integer, got {values['size']!r}")
        if values["size"] == 0:
            return None
        return ToyCase(**{name: values[name] for name in self.defaults})

    def order(self, result):
        return (float("-inf"),) if result.diverged else (-result.final["test_loss"],)

    def presentation(self, study):
        return {"titles": {name: STEPS.title(name) for name in study.factors.get("step", ())}}

    def columns(self, study, result, chosen):
        run = result.run
        own = {"step": run.case.step, "size": run.case.size, "learning_rate": run.learning_rate, "seed": run.seed}
        return own | {"chosen": chosen, "diverged_at": result.diverged_at, "loss": result.last("test_loss")}

    def costs(self, study, result):
        return {"seconds": result.timing.total_seconds, "threads": result.timing.threads}

    def content(self, study, results, presentation, turns):
        rows = []
        for case in study.cases:
            found = [results[run].last("test_loss") for run in chosen_runs(study, case, results) if run in results]
            if found:
                best = min((loss for loss in found if loss is not None), default=float("nan"))
                rows.append((case.title, f"{best:.3g}"))
        table = Table("Steps", ("case", "loss"), tuple(rows))
        frame = pd.DataFrame([dict(zip(table.columns, row, strict=True)) for row in rows])
        return Content("toys", "Which step?", ("They descend.",), "", (Section("All", tables=(table,)),), lambda: frame)


KINDS.add("toy", ToyKind())


def toy(name="toy", **keys):
    """A study of toys from the keys of a definition."""
    return Study.from_dict({"name": name, "kind": "toy", "seeds": [0, 1], "takes": ["plain", "halving"], **keys})


def made_up(run, gap=0.5, diverged_at=None):
    """A result with a given gap at the end, as if the run had been made."""
    looks = (Look(run.case.steps, {"gap": gap}),)
    final = {} if diverged_at is not None else {"test_loss": gap}
    return Result(
        run, diverged_at, None, {}, (1.0,), looks, final, Timing((0.01,), 1.0, 2**28, 2**27, 1), {"torch": "0"}
    )
