"""What a study names that this package does not have, and the code of it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CellType
from typing import Any, Final

from .register import foreign_entries, imported_entries

# Their code changes with their versions, which every result has anyway.
LIBRARIES: Final = ("builtins", "functools", "geoopt", "numpy", "pandas", "scipy", "sklearn", "torch", "torchvision")


def foreign_things(values: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield kind, name and thing of what is not ours and is named in plain values, as one of several words or alone."""
    text = "\n".join(_strings(values))
    for entries in (foreign_entries(), imported_entries()):
        for kind, found in entries.items():
            for name, entry in found.items():
                if re.search(rf"(?<![\w.:-]){re.escape(name)}(?![\w.:-])", text):
                    yield kind, name, entry.thing


def sources(values: Any) -> dict[str, str]:
    """Return a digest of the code of what plain values name and is not ours, where there is a source.

    The code of a function is its source, with numbers and texts that are its defaults or that it has closed over. That
    of an object is its class's, with the functions, numbers and texts that it holds, such as the ``build`` of a method
    or the loss of a training. What all of these call in turn is not looked at.
    """
    found = {}
    for kind, name, thing in foreign_things(values):
        texts = list(_code(thing, set()))
        if texts:
            found[f"{kind} {name}"] = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return found


def _code(thing: Any, seen: set[int]) -> Iterator[str]:
    """Yield the source of a thing, and what it holds."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, functools.partial):
        yield from _code(thing.func, seen)
        yield from _held([*thing.args, *thing.keywords.items()], seen)
        return
    is_code = inspect.isclass(thing) or inspect.isroutine(thing)
    code = thing if is_code else type(thing)
    package = str(getattr(code, "__module__", "")).partition(".")[0]
    is_ours, is_known = package == __package__.partition(".")[0], package in LIBRARIES
    if not is_ours and not is_known and (source := _source(code)) is not None:
        yield source
        if inspect.isfunction(thing):
            cells = [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]
            yield from _held([*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).items(), *cells], seen)
    if not is_code:
        for name, value in getattr(thing, "__dict__", {}).items():
            if (is_ours and _is_text(value)) or (is_known and name.startswith("_")):
                continue  # names, titles and places of data; what a library keeps to itself
            parts = list(_held([value], seen))
            yield from [name, *parts] if parts else []


def _held(values: Iterable[Any], seen: set[int]) -> Iterator[str]:
    """Yield the numbers and texts among values, and the code of what can be called; all else is left out."""
    for value in values:
        if isinstance(value, str | bool | int | float):
            yield repr(value)
        elif isinstance(value, Mapping):
            yield from _held(value.items(), seen)
        elif isinstance(value, tuple):
            yield from _held(value, seen)
        elif callable(value):
            yield from _code(value, seen)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and any(isinstance(part, str) for part in value))


def _source(code: Any) -> str | None:
    try:
        lines, _ = inspect.findsource(code)
        if getattr(code, "__name__", "") != "<lambda>":
            return inspect.getsource(code)
    except (OSError, TypeError):
        return None
    # The source of a lambda has all of its lines, and whatever stands beside it there.
    places = [place for place in code.__code__.co_positions() if None not in place and place[2] != place[3]]
    (first, left), (last, right) = min((p[0], p[2]) for p in places), max((p[1], p[3]) for p in places)
    text = "".join(lines[first - 1 : last]).encode()
    return text[left : len(text) - len(lines[last - 1].encode()) + right].decode()


def _strings(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield str(key)
            yield from _strings(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _strings(value)
