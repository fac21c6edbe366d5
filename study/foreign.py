"""What a study names that this package does not have, and the code of it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping
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
    """Return a digest of the source code of what plain values name and is not ours, where there is a source."""
    found = {}
    for kind, name, thing in foreign_things(values):
        source = _source(thing)
        if source is not None:
            found[f"{kind} {name}"] = hashlib.sha256(source.encode()).hexdigest()[:16]
    return found


def _source(thing: Any) -> str | None:
    while isinstance(thing, functools.partial):
        thing = thing.func
    code = thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)
    package = str(getattr(code, "__module__", "")).partition(".")[0]
    if package in (*LIBRARIES, __package__.partition(".")[0]):
        return None
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        return None


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
