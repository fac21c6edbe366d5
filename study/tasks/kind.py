"""Studies of trainings: which cases a definition stands for, and what their results are in tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from ...manifolds import Riemannian, require_integer
from .. import processes
from .._plain import Plain, require_known
from ..case import Case
from ..definition import Study
from ..design import Assignment
from ..kind import KINDS, Kind
from ..networks import NETWORKS, network_entry
from ..parts import (
    GEOMETRIES,
    METRICS,
    OPTIMIZERS,
    RETRACTIONS,
    SPECTRA,
    has_option,
    made,
    name_of_part,
)
from ..register import Register
from ..result import Result
from ..schedule import Results
from ..search import Order
from ..settings import SETTINGS, Settings
from ..surroundings import Surroundings
from .case import USUAL, TrainingCase, trainings
from .construction import plain_case, weightless_network
from .method import MethodChoice, name_of_method, read_method, read_spectrum
from .presentation import method_title, presentation_of
from .task import TASKS
from .trying import try_out

if TYPE_CHECKING:
    from ..report.content import Content
    from ..turns import Turn

RANKS: Final = (2, 4, 8)
MEBIBYTE: Final = 2**20
# Geometries that are for SVDP the same as another one, unless the spectrum is the identity.
_TWINS: Final = {"grassmann": "stiefel", "householder-reduced": "householder"}
_REGISTERS: Final[dict[str, Register[Any]]] = {
    "task": TASKS,
    "network": NETWORKS,
    "optimizer": OPTIMIZERS,
    "retraction": RETRACTIONS,
    "geometry": GEOMETRIES,
}
# How things that are given as objects are named.
_NAMES: Final[dict[str, Callable[[object], str]]] = {
    "method": name_of_method,
    **{name: partial(name_of_part, register) for name, register in _REGISTERS.items()},
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
        """Return a definition's keys with objects by their names, and ranks and the task's own defaults where left out.

        Raises:
            ValueError: there is no method.
        """
        if self.defaults.keys() <= values.keys():  # as a folder has it, which needs no task
            return dict(values)
        factors = values.get("factors", {})
        if not any(key in values for key in ("methods", "method")) and "method" not in factors:
            raise ValueError("methods is missing; give a list such as ['dense', 'sttp stiefel']")
        given = {key: _named(self.short_forms.get(key, key), value) for key, value in values.items()}
        short = {name: given.pop(key) for key, name in self.short_forms.items() if key in given}  # methods come first
        given["factors"] = short | {name: _named(name, chosen) for name, chosen in dict(factors).items()}
        own = dict(TASKS.entry(given.get("task", USUAL["task"]), "task").thing.defaults)
        if given.get("search", "grid") != "grid":
            own.pop("extensions", None)
        if "rank" not in given:
            given["factors"].setdefault("rank", list(RANKS))
        return own | given

    def case(self, values: Assignment) -> Case | None:
        """Return the case of a value for each key; None where it is another one in disguise."""
        chosen = read_method(values["method"])
        task = TASKS.entry(values["task"], "task")
        NETWORKS.entry(values["network"], "network")
        spectrum = read_spectrum(values["spectrum"])  # also where every method has its own
        optimizer = chosen.optimizer or OPTIMIZERS.entry(values["optimizer"], "optimizer").name
        for name in ("steps", "batch_size", "evaluations"):
            require_integer(name, values[name], least=1)
        settings = Settings(**{name: values[name] for name in SETTINGS})  # type: ignore[arg-type]  # which checks them
        rank = values["svdp_rank"] if chosen.parameterization == "svdp" and values["svdp_rank"] else values["rank"]
        if chosen.method is None or chosen.method.takes_rank:
            require_integer("rank", rank, least=1)
        else:
            rank = None
        found = self._parts(chosen, values, chosen.spectrum or spectrum)
        if found is None:
            return None
        case = TrainingCase(
            task=task.name,
            network=str(values["network"]),
            parameterization=chosen.parameterization,
            spectrum=None if rank is None else chosen.spectrum or spectrum,
            rank=rank,  # type: ignore[arg-type]  # which is checked
            optimizer=optimizer,
            steps=values["steps"],  # type: ignore[arg-type]
            batch_size=values["batch_size"],  # type: ignore[arg-type]
            evaluations=values["evaluations"],  # type: ignore[arg-type]
            settings=settings,
            options=_options(chosen, values, {"optimizer": optimizer, "network": str(values["network"]), **found}),
            **found,
        )
        if case.batch_size % settings.accumulation:
            raise ValueError(f"accumulation must divide batch_size, got {settings.accumulation} for {case.batch_size}")
        _ = case.specification  # which refuses what its parts refuse
        task.thing.require_settings(case)
        task.thing.require(case)
        return case

    def _parts(self, chosen: MethodChoice, values: Assignment, spectrum: str) -> dict[str, str | None] | None:
        """Return geometry, retraction and metric, each None where the method has none; None for a twin.

        Raises:
            ValueError: a name is unknown, or the method's own geometry is a twin's.
        """
        absent: dict[str, str | None] = {"geometry": None, "retraction": None, "metric": None}
        if values["retraction"] is not None:
            retraction = name_of_part(RETRACTIONS, values["retraction"])
            RETRACTIONS.entry(retraction, "retraction")
        if values["metric"] is not None:
            require_known("metric", values["metric"], METRICS)
        if chosen.method is not None:
            return absent
        own = chosen.geometry or values["geometry"]
        if own is None:
            geometries = ", ".join(GEOMETRIES)
            raise ValueError(f"method {chosen.parameterization!r} needs a geometry, such as one of {geometries}")
        geometry = name_of_part(GEOMETRIES, own)
        thing = made(GEOMETRIES, GEOMETRIES.entry(geometry, "geometry").name)
        twin = _TWINS.get(geometry)
        if chosen.parameterization == "svdp" and twin and not SPECTRA[spectrum].is_identity:
            if chosen.geometry is None:
                return None
            raise ValueError(
                f"geometry {geometry!r} is for svdp with the spectrum {spectrum!r} the same as {twin!r}; "
                f"give 'svdp {twin}'"
            )
        if not isinstance(thing, Riemannian):
            return absent | {"geometry": geometry}
        metric = None if values["metric"] is None else str(values["metric"])
        return {
            "geometry": geometry,
            "retraction": None if values["retraction"] is None else retraction,
            "metric": metric,
        }

    def title(self, factor: str, value: Plain) -> str:
        """Return how readers see the value of a factor."""
        if factor == "method":
            try:
                return method_title(read_method(value))
            except ValueError:  # a user's, whose code is not here
                return str(value)
        return _REGISTERS[factor].title(str(value)) if factor in _REGISTERS else str(value)

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
        self._require_options(study)
        try_out(trainings(study), surroundings)
        return "-".join(checksums) or None

    @staticmethod
    def _require_options(study: Study) -> None:
        """Refuse options that nothing in the study has, instead of leaving them aside.

        Raises:
            ValueError: as said.
        """
        known = {name for case in trainings(study) for name, _ in case.options}
        for name in (*study.factors, *study.shared):
            part, dot, option = name.partition(".")
            if dot and name not in known:
                raise ValueError(f"{name}: no {part} of the study has an option {option!r}; leave it out")

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


def _named(factor: str, given: Any) -> Any:
    """Return what is given for a factor, one thing or a list, by names; whatever is wrong is for the case to refuse.

    Raises:
        ValueError: two things of the list have one name.
    """
    name_of = _NAMES.get(factor)
    if name_of is None or given is None or isinstance(given, str):
        return given
    if not isinstance(given, list | tuple):
        return name_of(given)
    found: dict[str, object] = {}
    for thing in given:
        name = name_of(thing)
        if found.setdefault(name, thing) is not thing and not isinstance(thing, str):
            raise ValueError(f"{factor} has two entries that are called {name!r}; give one another name")
    return [name_of(thing) for thing in given]


def _options(
    chosen: MethodChoice, values: Assignment, parts: Mapping[str, str | None]
) -> tuple[tuple[str, Plain], ...]:
    """Return the options of a definition that a case's parts have.

    Args:
        chosen: the method.
        values: all that the definition says.
        parts: names of optimizer, network, retraction and geometry, each None where the case has none.
    """
    kept = {}
    for key, value in values.items():
        part, dot, option = key.partition(".")
        if not dot or value is None:
            continue
        if part == "method":
            has_it = chosen.method is not None and chosen.method.takes(option)
        elif part == "network":
            has_it = network_entry(str(parts[part])).takes(option)
        else:
            has_it = parts[part] is not None and has_option(_REGISTERS[part], str(parts[part]), option)
        if has_it:
            kept[key] = value
    return tuple(sorted(kept.items()))


KINDS.add(TrainingKind.name, TrainingKind())
