"""What others have registered in this process, as it is sent to workers."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np

from .foreign import foreign_things
from .register import Entry, adopt, foreign_entries, register_of

try:
    import cloudpickle  # which joblib brings
except ImportError:
    from joblib.externals import cloudpickle  # as it did before version 1.6

# What a worker has adopted already, and why it has not, by kind and name.
_ADOPTED: Final[dict[tuple[str, str], str]] = {}
_UNKNOWN: Final[dict[tuple[str, str], str]] = {}


class Packed(NamedTuple):
    """An entry of a register as bytes."""

    kind: str
    name: str
    digest: str
    data: np.ndarray  # which joblib shares between workers of one machine where it is large


@final
@dataclass(frozen=True)
class Parcel:
    """Entries of registers, on their way to a worker."""

    entries: tuple[Packed, ...]

    @classmethod
    def packed(cls) -> Parcel:
        """Pack all that others have registered, but for what cannot be sent; :func:`require_sendable` refuses that."""
        found = []
        for kind, entries in foreign_entries().items():
            for name, entry in entries.items():
                try:
                    data = cloudpickle.dumps(entry)
                except Exception:  # whatever it is: the study need not name this thing
                    continue
                found.append(Packed(kind, name, hashlib.sha256(data).hexdigest(), np.frombuffer(data, np.uint8)))
        return cls(tuple(found))

    def unpack(self) -> None:
        """Register the entries in this process, once, but for what cannot be loaded; :func:`find_all` refuses that."""
        for kind, name, digest, data in self.entries:
            if _ADOPTED.get((kind, name)) == digest:
                continue
            try:
                entry: Entry[Any] = cloudpickle.loads(data.tobytes())
            except Exception as error:  # whatever it is: the study need not name this thing
                _UNKNOWN[kind, name] = f"{type(error).__name__}: {error}"
                continue
            adopt({kind: {name: entry}})
            _ADOPTED[kind, name] = digest
            _UNKNOWN.pop((kind, name), None)


def require_sendable(values: Any) -> None:
    """Refuse what plain values name and a worker cannot be sent.

    Raises:
        ValueError: as said, with its name.
    """
    for kind, name, thing in foreign_things(values):
        if ":" in name:
            continue  # workers import it
        try:
            cloudpickle.dumps(thing)
        except Exception as error:
            raise ValueError(
                f"{kind} {name!r} cannot be sent to worker processes ({type(error).__name__}: {error}); define it at "
                f"the top of a module and name it package.module:object, or choose the executor 'sequential'"
            ) from error


def find_all(names: Mapping[tuple[str, str], tuple[str, ...]]) -> None:
    """Find names in this process, of what it was sent, or such as ``package.module:object``, which it imports.

    Args:
        names: by the module and the kind of the register.

    Raises:
        ValueError: one cannot be loaded or imported.
    """
    for (module, kind), some in names.items():
        for name in some:
            try:
                importlib.import_module(module)
                if (kind, name) in _UNKNOWN:
                    raise ValueError(_UNKNOWN[kind, name])
                register_of(kind).entry(name)
            except (ImportError, ValueError) as error:
                raise ValueError(
                    f"workers do not know the {kind} {name!r} ({error}); install the module of its code where they "
                    f"run, or have its folder on their PYTHONPATH"
                ) from None
