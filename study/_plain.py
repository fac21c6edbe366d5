"""Plain values, as JSON and TOML have them: checked, written, and named by what they hold."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..manifolds import described

# What a definition, a run and a result are made of.
Plain = None | bool | int | float | str | list["Plain"] | tuple["Plain", ...] | Mapping[str, "Plain"]


def require_known(argument: str, name: object, known: Iterable[str]) -> str:
    """Return a name that is among the known ones."""
    names = list(known)
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a string, got {described(name)}; choose from {', '.join(names)}")
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"{argument} has no choice {name!r}; {hint}choose from {', '.join(names)}")
    return name


def require_distinct(argument: str, values: object) -> None:
    """Refuse all but tuples with at least one entry and no entry twice."""
    if not isinstance(values, tuple):
        raise TypeError(f"{argument} must be a list, got {described(values)}")
    if not values:
        raise ValueError(f"{argument} must have at least one entry, got an empty list")
    try:
        if len(set(values)) == len(values):
            return
    except TypeError:  # a table, which has no hash
        pass
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise ValueError(f"{argument} must have no entry twice, got {repeated[0]!r} again; remove one")


def require_plain(argument: str, value: object) -> None:
    """Refuse all but None, flags, finite numbers, strings, and lists and tables of these."""
    if isinstance(value, Mapping):
        require_plain(argument, [*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            require_plain(argument, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{argument} must be finite, got {value}; give a number")
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{argument} must be numbers, texts or flags, got {described(value)}; convert it")


def require_folder_name(argument: str, value: object) -> None:
    """Refuse all but strings that can be the name of one folder."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, got {described(value)}")
    if (
        not value.strip()
        or value in (".", "..")
        or not value.isprintable()
        or any(sign in value for sign in '/\\<>:"|?*')
    ):
        raise ValueError(
            f'{argument} must be the name of a folder without / \\ < > : " | ? *, got {value!r}; write a word'
        )


def shown(text: object) -> str:
    """Return a name from outside as text that does nothing to a terminal: what cannot be printed is escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))


def import_object(argument: str, name: str) -> Any:
    """Return what ``package.module:object`` names; the object may be one of an object, ``module:Class.method``.

    Raises:
        ValueError: the module cannot be imported, whose own error is shown, or has no such object.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise ValueError(
            f"{argument} {name!r}: the module {module!r} cannot be imported ({type(error).__name__}: {error}); "
            f"give package.module:object of what is installed or lies in the current folder"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{argument} {name!r}: {module!r} has no {path!r}; see what it defines")
        found = getattr(found, part)
    return found


def importable_name(thing: object) -> str | None:
    """Return ``package.module:object``, by which any process can import a thing; None where there is no such name."""
    module, path = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or module == "__main__" or "<" in path:
        return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{module}:{path}" if found is thing else None


def to_json(data: Any, indent: int | None = None) -> str:
    """Return JSON text; NaN and infinity, which JSON does not have, are refused."""
    return json.dumps(data, allow_nan=False, indent=indent) + "\n"


def digest(data: Any) -> str:
    """Return sixteen hexadecimal digits of the SHA-256 of plain values."""
    content = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def tupled(value: Any) -> Any:
    """Return plain values with tuples for lists, so that they can be compared and hashed."""
    if isinstance(value, list | tuple):
        return tuple(tupled(item) for item in value)
    return {key: tupled(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def short(value: Plain) -> str:
    """Return a plain value as readers see it."""
    if isinstance(value, list | tuple):
        return "×".join(map(short, value))
    return f"{value:g}" if isinstance(value, float) else str(value).rpartition(":")[2]
