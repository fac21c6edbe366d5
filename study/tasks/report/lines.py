"""What the curves of a study are called, and how they look: whatever distinguishes them beside their ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..._plain import Plain, tupled
from ...register import Appearance, default_look

if TYPE_CHECKING:
    from ..case import TrainingCase

# What a method with its rank is; of all else that differs among cases readers are told by name.
_OF_METHODS: Final = ("parameterization", "geometry", "spectrum", "rank")
_OF_FRAMES: Final = ("retraction", "metric")  # which plain weights do not have


def titles_of(cases: Sequence[TrainingCase], methods: Mapping[str, Any]) -> dict[TrainingCase, str]:
    """Return the title of each case's method; several methods may have one title."""
    return {case: str(methods.get(case.method, {}).get("title") or case.method) for case in cases}


def factors_of(cases: Sequence[TrainingCase]) -> dict[str, dict[TrainingCase, Plain]]:
    """Return what differs among cases beside their methods and ranks, by name."""
    values = {case: _flat(case.to_dict()) for case in cases}
    names = dict.fromkeys(name for found in values.values() for name in found if name not in _OF_METHODS)
    # Settings at their defaults are not among a case's values.
    columns = {
        name: {case: values[case].get(name, getattr(case.settings, name, None)) for case in cases} for name in names
    }
    return {name: column for name, column in columns.items() if _differ(column.values(), name in _OF_FRAMES)}


def lines_of(
    cases: Sequence[TrainingCase],
    titles: Mapping[TrainingCase, str],
    factors: Mapping[str, Mapping[TrainingCase, Plain]],
) -> dict[TrainingCase, str]:
    """Return the name of each case's line: its method's title, and what differs among the cases of that title."""
    own = {name: {case: getattr(case, name) for case in cases} for name in _OF_METHODS if name != "rank"}
    columns = own | dict(factors)
    found = {}
    for case in cases:
        rivals = [other for other in cases if titles[other] == titles[case]]
        differing = [name for name, column in columns.items() if _differ(column[other] for other in rivals)]
        words = [f"{name} {short(value)}" for name in differing if (value := columns[name][case]) is not None]
        found[case] = ", ".join([titles[case], *words])
    return found


def looks_of(
    cases: Sequence[TrainingCase], lines: Mapping[TrainingCase, str], methods: Mapping[str, Any]
) -> dict[str, Appearance]:
    """Return the look of each line: that of its method, or one by its position where it is presented without one."""
    first = {lines[case]: case for case in reversed(cases)}
    return {
        line: _own_look(methods.get(first[line].method, {})) or default_look(position)
        for position, line in enumerate(dict.fromkeys(lines[case] for case in cases))
    }


def short(value: Plain) -> str:
    """Return a plain value as readers see it."""
    if isinstance(value, list | tuple):
        return "×".join(map(short, value))
    return f"{value:g}" if isinstance(value, float) else str(value).rpartition(":")[2]


def _flat(values: Mapping[str, Any]) -> dict[str, Plain]:
    """Return settings and options side by side with the other values."""
    found: dict[str, Plain] = {}
    for name, value in values.items():
        found |= _flat(value) if isinstance(value, Mapping) else {name: tupled(value)}
    return found


def _differ(values: Iterable[object], but_for_none: bool = False) -> bool:
    return len({repr(value) for value in values if value is not None or not but_for_none}) > 1


def _own_look(values: Mapping[str, Any]) -> Appearance | None:
    if values.get("color") is None:
        return None
    line: Any = values.get("line") or "-"
    if not isinstance(line, str):  # a pattern, of which JSON makes lists
        start, (dash, gap) = line
        line = (start, (dash, gap))
    return Appearance(values["color"], values.get("marker") or "o", line)
