"""Studies of trainings: which cases a definition stands for, and what their results are in tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from .. import processes
from .._plain import Plain
from ..case import Case
from ..definition import Study
from ..design import Assignment
from ..kind import KINDS, Kind, named
from ..parts import name_of_part
from ..result import Result
from ..schedule import Results
from ..search import Order
from ..settings import SETTINGS
from ..surroundings import Surroundings
from .case import USUAL, TrainingCase, trainings
from .construction import plain_case, weightless_network
from .making import REGISTERS, case_of
from .method import name_of_method
from .presentation import presentation_of
from .task import TASKS
from .trying import try_out

if TYPE_CHECKING:
    from ..report.content import Content
    from ..turns import Turn

RANKS: Final = (2, 4, 8)
MEBIBYTE: Final = 2**20
# How things that are given as objects are named.
_NAMES: Final[dict[str, Callable[[object], str]]] = {
    "method": name_of_method,
    **{name: partial(name_of_part, register) for name, register in REGISTERS.items()},
}


@final
class TrainingKind(Kind):
    """Methods at several ranks, on one task or several.

    Every method but those that have no rank makes one case a rank. Its learning rate is the best of a grid on the
    validation split with the first seed; where the best lies at the grid's edge, the grid is extended. Then it runs
    with all seeds.

    Factors are those of a case, `method` in place of parameterization, geometry and spectrum. A word that a method has
    itself comes before the study's: a geometry, a spectrum, or an optimizer. `svdp_rank` is the rank of SVDP where
    it is another one. Options of the network, of a user's method, of the optimizer and of the others are factors too.
    """

    name: ClassVar[str] = "training"
    case_type: ClassVar[type[Case]] = TrainingCase
    defaults: ClassVar[Mapping[str, Plain]] = {
        "task": USUAL["task"],
        "network": USUAL["network"],
        "method": None,
        "rank": None,
        "svdp_rank": None,
        "geometry": None,
        "spectrum": "free",
        "optimizer": USUAL["optimizer"],
        "retraction": None,
        "metric": None,
        "steps": USUAL["steps"],
        "batch_size": USUAL["batch_size"],
        "evaluations": USUAL["evaluations"],
        **SETTINGS,
    }
    short_forms: ClassVar[Mapping[str, str]] = {
        "methods": "method",
        "ranks": "rank",
        "svdp_ranks": "svdp_rank",
        "geometries": "geometry",
        "spectra": "spectrum",
        "optimizers": "optimizer",
        "retractions": "retraction",
        "metrics": "metric",
        "networks": "network",
    }
    open_parts: ClassVar[tuple[str, ...]] = ("network", "method", "optimizer", "retraction", "geometry")

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a definition's keys with objects by their names, and ranks and the task's defaults where left out."""
        if self.defaults.keys() <= values.keys():  # as a folder has it, which needs no task
            return dict(values)
        factors = values.get("factors", {})
        if not any(key in values for key in ("methods", "method")) and "method" not in factors:
            raise ValueError("methods is missing; give a list such as ['dense', 'sttp stiefel']")
        given = {key: named(_NAMES, self.short_forms.get(key, key), value) for key, value in values.items()}
        short = {name: given.pop(key) for key, name in self.short_forms.items() if key in given}  # methods come first
        given["factors"] = short | {name: named(_NAMES, name, chosen) for name, chosen in dict(factors).items()}
        own = dict(TASKS.entry(given.get("task", USUAL["task"]), "task").thing.defaults)
        if given.get("search", "grid") != "grid":
            own.pop("extensions", None)
        if "rank" not in given:
            given["factors"].setdefault("rank", list(RANKS))
        return own | given

    def case(self, values: Assignment) -> Case | None:
        """Return the case of a value for each key; None where it is another one in disguise."""
        return case_of(values)

    def order(self, result: Result) -> Order:
        """Return what runs are ordered by: the validation score, then the validation loss."""
        if result.diverged:
            return (-math.inf, -math.inf)
        score, loss = (result.looks[-1].measures.get(f"validation_{name}") for name in ("score", "loss"))
        return (-math.inf if score is None else score, -math.inf if loss is None else -loss)

    def require(self, study: Study, surroundings: Surroundings) -> str | None:
        """Refuse data, networks and methods that do not fit, before the first run; return a checksum of the data."""
        checksums: dict[str, None] = {}
        for case in dict.fromkeys(map(plain_case, trainings(study))):
            task = TASKS[case.task]
            checksum = task.require_data(case, surroundings)
            checksums |= {} if checksum is None else {checksum: None}
            weightless_network(case, task.image_shape(case, surroundings))
            processes.require_divisible(case.batch_size, case.settings.accumulation)
        study.require_options(key for case in trainings(study) for key, _ in case.options)
        try_out(trainings(study), surroundings)
        return "-".join(checksums) or None

    def presentation(self, study: Study) -> dict[str, Plain]:
        """Return how the score, the methods and the settings are shown."""
        return presentation_of(study)

    def columns(self, study: Study, result: Result, chosen: bool) -> dict[str, Plain]:
        """Return the case, side by side, and what the run has reached."""
        case = result.run.case
        assert isinstance(case, TrainingCase)
        names = ("task", "network", "parameterization", "geometry", "spectrum", "rank", "optimizer")
        row: dict[str, Plain] = {name: getattr(case, name) for name in names}
        row |= {"learning_rate": result.run.learning_rate, "seed": result.run.seed}
        row |= {name: getattr(case, name) for name in ("steps", "batch_size", "evaluations")}
        row |= asdict(case.settings)
        row |= {name: getattr(case, name) for name in ("retraction", "metric") if getattr(case, name) is not None}
        row |= dict(case.options)
        row |= {"chosen": chosen, "diverged_at": result.diverged_at}
        row |= {name: result.facts.get(name) for name in ("z", "degrees_of_freedom")}
        row |= {name: result.facts[name] for name in ("stored", "dimension") if name in result.facts}
        row["training_loss"] = result.final_loss
        seen = {} if result.diverged else result.looks[-1].measures
        for split, measures in (("validation", seen), ("test", result.final)):
            row |= {f"{split}_{name}": measures.get(f"{split}_{name}") for name in ("score", "loss")}
            row |= {name: value for name, value in measures.items() if name.startswith(f"{split}_")}
        return row | {"orthogonality_error": result.largest("orthogonality_error")}

    def costs(self, study: Study, result: Result) -> dict[str, Plain]:
        """Return times, memory and threads."""
        timing = result.timing
        return {
            "seconds_per_step": statistics.median(timing.step_seconds) if timing.step_seconds else None,
            "training_seconds": sum(timing.step_seconds),
            "total_seconds": timing.total_seconds,
            "peak_memory_mib": timing.peak_memory / MEBIBYTE,
            "base_memory_mib": timing.base_memory / MEBIBYTE,
            "threads": timing.threads,
        }

    def content(
        self, study: Study, results: Results, presentation: Mapping[str, Any], turns: tuple[Turn, ...]
    ) -> Content:
        """Return a table, findings and figures."""
        from .report import content_of  # which draws: definitions need it not

        return content_of(study, results, presentation, turns)


KINDS.add(TrainingKind.name, TrainingKind())
