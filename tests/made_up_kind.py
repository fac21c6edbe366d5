"""A kind of study whose results cost nothing, and a report of it with one thing of each sort."""

import math
from dataclasses import asdict, dataclass
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure

from sttp.study.case import Case
from sttp.study.definition import Study
from sttp.study.kind import KINDS, Kind
from sttp.study.report.content import Content, Picture, Section, Table
from sttp.study.report.intervals import Interval
from sttp.study.result import Look, Result, Timing
from sttp.study.schedule import chosen_runs, pending_runs

STEPS = 60


@dataclass(frozen=True)
class MadeUpCase(Case):
    kind: ClassVar[str] = "made-up"
    method: str
    rank: int | None
    steps: int = STEPS

    @property
    def title(self):
        return self.method if self.rank is None else f"{self.method}, rank {self.rank}"

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        return cls(**values)

    def begin(self, run, surroundings):
        raise NotImplementedError("these results are made up")


class MadeUpKind(Kind):
    name: ClassVar[str] = "made-up"
    case_type: ClassVar[type[Case]] = MadeUpCase
    defaults: ClassVar[dict] = {"method": "dense", "rank": None, "steps": STEPS, "picture": "good"}

    def case(self, values):
        is_dense = values["method"] == "dense"
        return MadeUpCase(values["method"], None if is_dense else values["rank"], values["steps"])

    def order(self, result):
        return (result.last("test_score"),)

    def columns(self, study, result, chosen):
        run = result.run
        return {**asdict(run.case), "learning_rate": run.learning_rate, "seed": run.seed, "chosen": chosen}

    def costs(self, study, result):
        return {"seconds": result.timing.total_seconds, "threads": result.timing.threads}

    def content(self, study, results, presentation, turns):
        if study.shared["picture"] == "no content":
            raise RuntimeError("this content cannot be made")
        reported = [case for case in study.cases if any(run in results for run in chosen_runs(study, case, results))]

        def scores(case):
            found = [results[run] for run in chosen_runs(study, case, results) if run in results]
            return Interval.of(result.final["test_score"] for result in found)

        table = Table(
            title="Scores of all <methods>",
            columns=("method", "rank", "Z %", "accuracy %", "‖XᵀX−I‖", "diverged"),
            rows=tuple(
                (
                    c.method,
                    str(c.rank or "–"),
                    f"{_z(c):.2f}",
                    scores(c).text(100),
                    f"{1e-7 * (c.rank or 1):.0e}",
                    "0 of 3",
                )
                for c in reported
            ),
            notes=("Where `rank` is a dash, the network is dense.",),
            links=tuple(tuple(r.identifier for r in chosen_runs(study, c, results)) for c in reported),
        )
        drawings = {"good": _figure, "bad": lambda: 1 / 0}
        return Content(
            subtitle=f"{len(study.cases)} made-up cases, {len(study.seeds)} seeds.",
            question="Does a report show what it is given, whatever it is called?",
            findings=tuple(f"{case.title} reaches {scores(case).text(100)} %." for case in reported[:4]),
            on_findings="All of this is made up.",
            sections=(
                Section("", pictures=(Picture("first", "Score against size", "Across: size. Up: `score`.", _figure),)),
                Section("Words", ("A paragraph, `code` & <b>tags</b>.",), (("dense", "as it is"), ("x < y", "less"))),
                Section("Results", tables=(table,), pictures=(
                    Picture("second", "Loss [red]", "Again.", drawings[study.shared["picture"]]),)),
                Section("More", tables=(table,)),
                Section("Last", ("Nothing else.",)),
            ),
            frame=lambda: pd.DataFrame(
                {"case": c.title, "rank": c.rank, "z": _z(c), "accuracy": scores(c).mean, "ms": 3.5} for c in reported
            ),
            csv={"extra.csv": lambda: pd.DataFrame({"a": [1]})},
            measures={"accuracy": ("test_score", "validation_score")},
        )  # fmt: skip


if "made-up" not in KINDS:
    KINDS.add("made-up", MadeUpKind())


def study(methods=("dense", "STTP stiefel", "STTP grassmann"), ranks=(2, 4, 8), picture="good", **others):
    values = {"name": "made-up", "kind": "made-up", "picture": picture, "seeds": [0, 1, 2], **others}
    return Study.from_dict({"factors": {"method": methods, "rank": ranks}, **values})


def results_of(compared, slope=0.0):
    """Make up all results of a study; the loss falls by a factor of e^-slope from one step to the next."""
    results = {}
    while runs := pending_runs(compared, results):
        results |= {run: _result(run, slope) for run in runs}
    return results


def _z(case):
    return 100.0 if case.rank is None else 5.0 * case.rank


def _result(run, slope):
    place = (case := run.case).rank or 16
    score = 0.9 - 0.4 / place + 0.003 * run.seed - 0.01 * abs(math.log(run.learning_rate / 0.03))
    losses = tuple(place * (math.exp(-slope * k) + 0.02 * math.sin(7 * k + run.seed)) + 0.1 for k in range(case.steps))
    steps = (0, case.steps // 3, case.steps)
    looks = tuple(Look(k, {"validation_score": score * (k + 1) / (case.steps + 1), "error": None}) for k in steps)
    timing = Timing(
        (0.001 * place,) * case.steps, 1.0, 2**28, 2**27, 1, 0.5 + run.seed, "A processor", 1.7e9 + run.seed
    )
    facts, final = {"z": _z(case)}, {"test_score": score}
    return Result(run, None, None, facts, losses, looks, final, timing, {"torch": "0"})


def _figure():
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for k in range(4):
        axes.plot([1, 2, 3], [k, k**2, k + 1], marker="o", label=f"method {k}")
    axes.set_xlabel("steps")
    figure.legend(loc="outside right center")
    return figure
