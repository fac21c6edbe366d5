"""Checks of what a user gives: every error names the argument, the value received and the cure."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


def choose(argument: str, name: object, table: Mapping[str, Value]) -> Value:
    """Return the row of a registry.

    Raises:
        TypeError: the name is no string.
        ValueError: no row has this name; the message lists those there are, and the nearest one.
    """
    require_known(argument, name, table)
    return table[str(name)]


def require_known(argument: str, name: object, known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        TypeError: it is no string.
        ValueError: as said.
    """
    names = list(known)
    if not isinstance(name, str):
        given = list(name) if isinstance(name, tuple) else name  # as it was written
        raise TypeError(f"{argument} must be a string, got {given!r}; choose from {', '.join(names)}")
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise ValueError(f"{argument} has no choice {name!r}; {hint}choose from {', '.join(names)}")


def require_integer(argument: str, value: object, minimum: int = 0) -> None:
    """Refuse all but integers of at least ``minimum``.

    Raises:
        TypeError: the value is no integer (a boolean is none).
        ValueError: it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an integer of at least {minimum}, got {value!r}")
    if value < minimum:
        raise ValueError(f"{argument} must be at least {minimum}, got {value}")


def require_positive(argument: str, value: object) -> None:
    """Refuse all but positive finite numbers.

    Raises:
        TypeError: the value is no number (a boolean is none).
        ValueError: it is not positive and finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument} must be a positive number, got {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{argument} must be positive and finite, got {value}")


def require_text(argument: str, value: object) -> None:
    """Refuse all but strings that are not blank.

    Raises:
        TypeError: the value is no string.
        ValueError: it is blank.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, got {value!r}")
    if not value.strip():
        raise ValueError(f"{argument} must not be blank, got {value!r}; write something")


def require_folder_name(argument: str, value: object) -> None:
    """Refuse all but strings that can be the name of one folder.

    Raises:
        TypeError: the value is no string.
        ValueError: it is blank, has a slash, or leads to another folder.
    """
    require_text(argument, value)
    if value in (".", "..") or any(sign in str(value) for sign in "/\\"):
        raise ValueError(f"{argument} must be the name of a folder without slashes, got {value!r}; write a word")


def shown(text: object) -> str:
    """Return a name from outside as text that does nothing to a terminal: what cannot be printed is escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))


def require_distinct(argument: str, values: object) -> None:
    """Refuse all but tuples with at least one entry and no entry twice.

    Raises:
        TypeError: the values are no tuple.
        ValueError: there is none, or one twice.
    """
    if not isinstance(values, tuple):
        raise TypeError(f"{argument} must be a list, got {values!r}")
    if not values:
        raise ValueError(f"{argument} must have at least one entry, got an empty list")
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise ValueError(f"{argument} must have no entry twice, got {repeated[0]!r} again; remove one")


def import_object(argument: str, name: str) -> Any:
    """Return what ``package.module:object`` names, in what is installed or lies in the current folder.

    The object may be one of an object, ``module:Class.method``.

    Raises:
        ValueError: the module cannot be imported, whose own error is shown, or has no such object.
    """
    module, _, path = name.partition(":")
    if os.getcwd() not in sys.path:  # as a script that is installed has it
        sys.path.append(os.getcwd())
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
