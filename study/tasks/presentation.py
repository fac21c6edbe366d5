"""How studies of trainings are shown: plain values, by which a folder can be drawn without the code that it names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Final

from .._plain import Plain
from ..definition import Study
from ..metrics.inception import FID, INCEPTION_SCORE, KID
from ..parts import OPTIMIZERS, SPECIFICATIONS
from ..register import COLOURS, LINES, MARKERS, Appearance, Register, callable_thing, default_look
from .case import TrainingCase, trainings
from .method import MethodChoice, read_method
from .task import TASKS

# Functions of a study of this name that return published numbers: Z as text, by the titles of cases.
PUBLISHED: Final[Register[Callable[[Study], Mapping[str, str]]]] = Register("published table", callable_thing)
_LETTERS: Final = {"identity": "C", "lipschitz": "L", "regularized": "R"}


def presentation_of(study: Study) -> dict[str, Plain]:
    """Return how the score, the methods and the settings of a study are shown."""
    cases = trainings(study)
    task, settings = TASKS[cases[0].task], cases[0].settings
    others = {"_".join(name.split()): title for name, title in task.other_measures.items()}
    if settings.inception:
        others |= {"_".join(name.split()): name for name in (INCEPTION_SCORE, FID, KID)}
    published = dict(PUBLISHED[study.name](study)) if study.name in PUBLISHED else {}
    data = {} if cases[0].task == "digits" or "data" not in task.settings else {"data": settings.data}
    return {
        "score_name": task.score_name,
        "score_scale": task.score_scale,
        "score_unit": task.score_unit,
        "score_digits": task.score_digits,
        "loss_name": task.loss_name,
        "other_measures": others,
        "description": task.description,
        "question": task.question,
        "methods": _presented_methods(study),
        "published": published,
        "settings": data | settings.changed,
    }


def method_title(chosen: MethodChoice, flavour: str | None = None) -> str:
    """Return a method as readers see it, such as ``STTP stiefel`` or ``STTP-L stiefel``."""
    if chosen.shown is not None and chosen.shown.title is not None:
        return chosen.shown.title
    if chosen.method is not None:
        return chosen.method.name
    letter = "" if flavour is None else f"-{_LETTERS.get(flavour, flavour)}"
    return f"{SPECIFICATIONS.title(chosen.parameterization)}{letter} {chosen.geometry or ''}".rstrip()


def _presented_methods(study: Study) -> dict[str, Plain]:
    """Return title and look of each line of the plots, by the methods of its cases."""
    titles: dict[str, str] = {}
    looks = {}
    varied = [name for name in study.factors if name not in ("method", "rank", "svdp_rank", "geometry", "spectrum")]
    for text, case in study.assigned.items():
        assert isinstance(case, TrainingCase)
        if case.method in titles:
            continue
        assignment = json.loads(text)
        chosen = read_method(assignment.get("method", study.shared["method"]))
        chosen = replace(chosen, geometry=case.geometry)
        flavour = chosen.spectrum or (case.spectrum if "spectrum" in study.factors else None)
        others = [f"{name} {assignment[name]}" for name in varied if _has(case, name)]
        if (
            chosen.method is None
            and chosen.optimizer is not None
            and chosen.shown is not None
            and not chosen.shown.title
        ):
            others.append(OPTIMIZERS.title(chosen.optimizer))
        titles[case.method] = ", ".join([method_title(chosen, flavour), *others])
        own = None if chosen.shown is None else chosen.shown.look
        if own is None and case.geometry is not None:
            own = look_of_ours(case.parameterization, case.geometry, flavour)
        looks[case.method] = own
    shown = zip(titles.items(), distinct(looks.values()), strict=True)
    return {text: {"title": title, **asdict(look)} for (text, title), look in shown}


def _has(case: TrainingCase, factor: str) -> bool:
    """Return whether a factor means something to a case."""
    if "." in factor:
        return factor in dict(case.options)
    return getattr(case, factor, True) is not None


# Colours after Okabe and Ito (2008), darkened where they are faint on white.
_LOOKS: Final[dict[tuple[str, str], Appearance]] = {
    ("svdp", "stiefel"): Appearance("#E69F00", "s", "-"),
    ("svdp", "grassmann"): Appearance("#8C6D00", "p", "-"),
    ("svdp", "householder"): Appearance("#A0522D", "^", "--"),
    ("svdp", "householder-reduced"): Appearance("#D55E00", "<", "--"),
    ("sttp", "stiefel"): Appearance("#0072B2", "o", "-"),
    ("sttp", "grassmann"): Appearance("#56B4E9", "v", "-"),
    ("sttp", "householder"): Appearance("#009E73", "P", "--"),
    ("sttp", "householder-reduced"): Appearance("#CC79A7", "X", "--"),
}

# Of methods that have a spectrum of their own: the marker, and how much of the colour is left beside white.
_SPECTRA: Final[dict[str, tuple[str, float]]] = {
    "identity": ("v", 0.5),
    "lipschitz": ("s", 0.75),
    "learned": ("s", 0.75),
    "regularized": ("o", 1.0),
    "free": ("D", 0.9),
}


def look_of_ours(parameterization: str, geometry: str, spectrum: str | None) -> Appearance | None:
    """Return how layers of this package look; None for a geometry or specification of somebody else."""
    look = _LOOKS.get((parameterization, geometry))
    if look is None or spectrum is None:
        return look
    marker, shade = _SPECTRA.get(spectrum, ("*", 0.9))
    channels = bytes(round(shade * channel + (1 - shade) * 255) for channel in bytes.fromhex(look.color[1:]))
    return replace(look, color=f"#{channels.hex()}", marker=marker)


def distinct(looks: Iterable[Appearance | None]) -> list[Appearance]:
    """Return looks of which no two are equal: new ones for those that are missing, other markers for repeated ones."""
    given = list(looks)
    colours = {look.color for look in given if look is not None}
    fresh = [default_look(position) for position in range(len(COLOURS) * len(LINES))]
    fresh.sort(key=lambda look: look.color in colours)
    found: list[Appearance] = []
    for look in given:
        choices = fresh if look is None else [look, *(replace(look, marker=marker) for marker in MARKERS)]
        found.append(next((choice for choice in choices if choice not in found), choices[0]))
    return found
