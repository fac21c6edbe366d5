"""What a study names that this package does not have: found, told apart by its code, and sent to workers."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CellType
from typing import Any, Final, NamedTuple, final

import numpy as np
import torch

from .register import Entry, Register, foreign_entries, register_of

try:
    import cloudpickle  # which joblib brings
except ImportError:
    from joblib.externals import cloudpickle  # as it did before version 1.6

# Their code changes with their versions, which every result has.
LIBRARIES: Final = ("builtins", "functools", "geoopt", "numpy", "scipy", "torch")
# Where Python and what is installed lie: their code is that of their versions.
_INSTALLED: Final = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


# What a worker has adopted already, by kind and name.
_ADOPTED: Final[dict[tuple[str, str], str]] = {}


def foreign_things(values: Any) -> Iterator[tuple[Register[Any], Entry[Any]]]:
    """Yield what is not ours and is named in plain values, as one of several words or alone."""
    text = "\n".join(_strings(values))
    for register, entry in foreign_entries():
        if re.search(rf"(?<![\w.:-]){re.escape(entry.name)}(?![\w.:-])", text):
            yield register, entry


def sources(values: Any) -> dict[str, str]:
    """Return a digest of the code of what plain values name and is not ours, where there is a source.

    The code of a function is its source, with that of the functions that it names, and the numbers, texts and arrays
    among its defaults, what it has closed over, and the globals that it names. That of an object is its class's, with
    the same of what it holds, such as the ``build`` of a method or the loss of a training. What belongs to another
    package that is installed, or is named by way of a module, is not looked at.
    """
    found = {}
    for register, entry in foreign_things(values):
        texts = list(_code(entry.thing, _package(entry.thing), set()))
        if texts:
            found[f"{register.kind} {entry.name}"] = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    return found


class Packed(NamedTuple):
    """A thing of a register on its way to a worker, which it imports where it has a colon in its name."""

    register: str  # the module that makes it
    kind: str
    name: str
    is_named: bool  # by the study; what no run needs may be left behind
    data: np.ndarray  # the entry as bytes, which joblib shares between workers of one machine; empty where it imports
    digest: str


@final
@dataclass(frozen=True)
class Parcel:
    """What others have registered in this process, as it is sent to workers."""

    entries: tuple[Packed, ...] = ()

    @classmethod
    def packed(cls, values: Any = ()) -> Parcel:
        """Pack what plain values name, and all else that can be sent: code may look up names of its own.

        Raises:
            ValueError: something that the values name cannot be sent.
        """
        named = {(register.kind, entry.name) for register, entry in foreign_things(values)}
        found = []
        for register, entry in foreign_entries():
            is_named = (register.kind, entry.name) in named
            data = b""
            if ":" not in entry.name:
                try:
                    data = cloudpickle.dumps(entry)
                except Exception as error:  # whatever it is
                    if is_named:
                        raise ValueError(
                            f"{register.kind} {entry.name!r} cannot be sent to worker processes "
                            f"({type(error).__name__}: {error}); define it at the top of a module and name it "
                            f"package.module:object, or choose the executor 'sequential'"
                        ) from error
                    continue
            elif not is_named:
                continue
            digest = hashlib.sha256(data).hexdigest()
            array = np.frombuffer(data, np.uint8)
            found.append(Packed(register.module, register.kind, entry.name, is_named, array, digest))
        return cls(tuple(found))

    def unpack(self) -> None:
        """Register in this process, once, what can be loaded.

        Raises:
            ValueError: something that the study names cannot be loaded or imported.
        """
        for module, kind, name, is_named, data, digest in self.entries:
            if _ADOPTED.get((kind, name)) == digest:
                continue
            try:
                importlib.import_module(module)
                if len(data):
                    register_of(kind).adopt(cloudpickle.loads(data.tobytes()))
                else:
                    register_of(kind).entry(name)
                _ADOPTED[kind, name] = digest
            except Exception as error:  # whatever its code raises
                if is_named:
                    raise ValueError(
                        f"workers do not know the {kind} {name!r} ({error}); install the module of its code where "
                        f"they run, or have its folder on their PYTHONPATH"
                    ) from None


def _package(thing: Any) -> str:
    code = thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)
    return str(getattr(code, "__module__", "")).partition(".")[0]


def _is_installed(package: str) -> bool:
    """Whether a package is Python's own or lies where packages are installed."""
    file = getattr(sys.modules.get(package), "__file__", None)
    return package in sys.builtin_module_names or (file is not None and file.startswith(_INSTALLED))


def _code(thing: Any, own: str, seen: set[int]) -> Iterator[str]:
    """Yield the source of a thing of the package ``own`` or of none that is installed, and what it holds."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, functools.partial):
        yield from _code(thing.func, own, seen)
        yield from _held([*thing.args, *thing.keywords.items()], own, seen)
        return
    is_code = inspect.isclass(thing) or inspect.isroutine(thing)
    code = thing if is_code else type(thing)
    package = _package(thing)
    is_ours, is_known = (
        package == __package__.partition(".")[0],
        package in LIBRARIES or (package != own and _is_installed(package)),
    )
    if not is_ours and not is_known and (source := _source(code)) is not None:
        yield source
        for function in [thing] if inspect.isfunction(thing) else filter(inspect.isfunction, vars(code).values()):
            cells = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
            used = [function.__globals__.get(name) for name in function.__code__.co_names]
            defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
            yield from _held([*defaults, *cells, *used], own, seen)
    if not is_code:
        for name, value in getattr(thing, "__dict__", {}).items():
            if (is_ours and _is_other(value)) or (is_known and name.startswith("_")):
                continue  # names and titles; data, which has a checksum; what a library keeps to itself
            parts = list(_held([value], own, seen))
            yield from [name, *parts] if parts else []


def _held(values: Iterable[Any], own: str, seen: set[int]) -> Iterator[str]:
    """Yield numbers, texts and digests of arrays among values, and the code of what can be called; no other things."""
    for value in values:
        if isinstance(value, str | bool | int | float):
            yield repr(value)
        elif isinstance(value, tuple):
            yield from _held(value, own, seen)
        elif isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))
            yield from _held(value.items(), own, seen)
        elif isinstance(value, torch.Tensor | np.ndarray):
            yield hashlib.sha256(_bytes(value)).hexdigest()
        elif callable(value):
            yield from _code(value, own, seen)


def _bytes(value: torch.Tensor | np.ndarray) -> bytes:
    if isinstance(value, np.ndarray):
        return value.tobytes()
    dense = value.detach().to_dense().cpu().contiguous()
    return bytes(dense.reshape(-1).view(torch.uint8).numpy().data)


def _is_other(value: Any) -> bool:
    """Whether a value of ours is a text, or a tuple of something else than numbers."""
    return isinstance(value, str) or (isinstance(value, tuple) and not all(isinstance(v, int | float) for v in value))


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
