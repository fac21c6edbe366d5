"""From the words of a definition to a case: all names are looked up here, and what does not fit is refused."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from ...manifolds import Riemannian, require_integer
from .._plain import require_known
from ..design import Assignment
from ..networks import NETWORKS, network_entry
from ..parts import GEOMETRIES, METRICS, OPTIMIZERS, RETRACTIONS, SPECTRA, has_option, made, name_of_part, options_among
from ..register import Register
from ..settings import SETTINGS, Settings
from .case import TrainingCase
from .method import MethodChoice, read_method, read_spectrum
from .task import TASKS

# Geometries that are for SVDP the same as another one, unless the spectrum is the identity.
_TWINS: Final = {"grassmann": "stiefel", "householder-reduced": "householder"}
REGISTERS: Final[dict[str, Register[Any]]] = {
    "task": TASKS,
    "network": NETWORKS,
    "optimizer": OPTIMIZERS,
    "retraction": RETRACTIONS,
    "geometry": GEOMETRIES,
}


def case_of(values: Assignment) -> TrainingCase | None:
    """Return the case of a value for each key of a definition; None where it is another one in disguise."""
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
    found = _parts(chosen, values, chosen.spectrum or spectrum)
    if found is None:
        return None
    takes = {"network": network_entry(str(values["network"])).takes}
    takes |= {} if chosen.method is None else {"method": chosen.method.takes}
    parts = {"optimizer": optimizer, "retraction": found["retraction"], "geometry": found["geometry"]}
    takes |= {part: partial(has_option, REGISTERS[part], name) for part, name in parts.items() if name is not None}
    case = TrainingCase(
        task=task.name,
        network=str(values["network"]),
        parameterization=chosen.parameterization,
        spectrum=None if rank is None or (chosen.method and chosen.method.fine_tunes) else chosen.spectrum or spectrum,
        rank=rank,  # type: ignore[arg-type]  # which is checked
        optimizer=optimizer,
        steps=values["steps"],  # type: ignore[arg-type]
        batch_size=values["batch_size"],  # type: ignore[arg-type]
        evaluations=values["evaluations"],  # type: ignore[arg-type]
        settings=settings,
        options=options_among(values, takes),
        **found,
    )
    if case.batch_size % settings.accumulation:
        raise ValueError(f"accumulation must divide batch_size, got {settings.accumulation} for {case.batch_size}")
    _ = case.specification  # which refuses what its parts refuse
    task.thing.require_settings(case)
    task.thing.require(case)
    return case


def _parts(chosen: MethodChoice, values: Assignment, spectrum: str) -> dict[str, str | None] | None:
    """Return geometry, retraction and metric, each None where the method has none; None for a twin."""
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
            f"geometry {geometry!r} is for svdp with the spectrum {spectrum!r} the same as {twin!r}; give 'svdp {twin}'"
        )
    if not isinstance(thing, Riemannian):
        return absent | {"geometry": geometry}
    metric = None if values["metric"] is None else str(values["metric"])
    return {
        "geometry": geometry,
        "retraction": None if values["retraction"] is None else retraction,
        "metric": metric,
    }
