"""Named things: whatever a study can compare or be made of, ours and the user's alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar, cast, final

from ..manifolds import described
from ._plain import import_object, importable_name, require_known

Thing = TypeVar("Thing")

# A pattern by its sign, or where its first dash begins and the lengths of dash and gap.
Line = Literal["-", "--", ":", "-."] | tuple[float, tuple[float, float]]
# Colours after Okabe and Ito (2008), darkened where they are faint on white: safe for colour-blind readers.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D00", "#B00020", "#333333")
MARKERS: Final = ("o", "s", "^", "v", "D", "P", "X", "p", "*", "h")
LINES: Final[tuple[Line, ...]] = ("-", "--", ":", "-.")


_REGISTERS: Final[list[Register[Any]]] = []
# What one study has named by objects so far, by kind and name; None where no study is being defined.
_NAMED: dict[tuple[str, str], object] | None = None


@final
@dataclass(frozen=True)
class Appearance:
    """Colour, marker and line style in matplotlib's terms."""

    color: str
    marker: str
    line: Line = "-"


@final
@dataclass(frozen=True)
class Entry(Generic[Thing]):
    """A thing under its name, and how plots and tables show it; what is None has a default."""

    name: str
    thing: Thing
    title: str | None = None
    look: Appearance | None = None
    is_ours: bool = False


class Register(Generic[Thing]):
    """Things of one kind by name. A name may also be ``package.module:object``, which is then imported.

    ::

        OPTIMIZERS.add("mine", lambda parameters, rate: Mine(parameters, lr=rate), title="Mine")

        @NETWORKS.add("small")
        def small(): ...

    Args:
        kind: what they are, in the singular, as messages call them.
        check: raises a TypeError for what is no such thing.
    """

    def __init__(self, kind: str, check: Callable[[object], None] = lambda thing: None) -> None:
        self.kind = kind
        self._check = check
        # Where the register is made, which a worker imports before it looks a name up.
        self.module = str(sys._getframe(1).f_globals.get("__name__", ""))
        self._entries: dict[str, Entry[Thing]] = {}
        self._imported: dict[str, Entry[Thing]] = {}
        _REGISTERS.append(self)

    def add(self, name: str, thing: Any = None, *, title: str | None = None, look: Appearance | None = None) -> Any:
        """Register a thing, in place of one of this name; without a thing, return a decorator that does.

        Raises:
            TypeError: the name is no string, or the thing of another kind.
            ValueError: the name is blank, or has a colon, which is for names of modules.
        """
        if not isinstance(name, str):
            raise TypeError(f"name of a {self.kind} must be a string, got {name!r}")
        if not name.strip() or ":" in name:
            raise ValueError(f"name of a {self.kind} must be a word without a colon, got {name!r}")
        # What this package registers is there in every process; what somebody else does must be sent along.
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        is_ours = caller.startswith(__package__.partition(".")[0] + ".")

        def added(given: Any) -> Any:
            self._add(Entry(name, given, title, look, is_ours))
            return given

        return added if thing is None else added(thing)

    def entry(self, name: object, argument: str | None = None) -> Entry[Thing]:
        """Return the entry of a name.

        Args:
            name: a registered one, or ``package.module:object``.
            argument: what the name was given as, by default the kind.

        Raises:
            TypeError: the name is no string, or names something of another kind.
            ValueError: it is unknown, or cannot be imported.
        """
        argument = argument or self.kind
        if isinstance(name, str) and ":" in name and name not in self._entries:
            if name not in self._imported:
                thing = import_object(argument, name)
                self._require(name, thing)
                self._imported[name] = Entry(name, thing)
            return self._imported[name]
        return self._entries[require_known(argument, name, self._entries)]

    def name_for(self, thing: object, fallback: str | None = None) -> str:
        """Return the name of a thing, by which a definition names it and another process finds it.

        A string is a name already. What is registered has its name, what can be imported is called
        ``package.module:object``, and all else is registered under its own name, from which workers know it, or under
        the fallback.

        Raises:
            TypeError: it is of another kind.
            ValueError: something else is registered under its name.
        """
        if isinstance(thing, str):
            return thing
        for name, entry in self._entries.items():
            if entry.thing is thing:
                if _NAMED is not None and not entry.is_ours:
                    _NAMED.setdefault((self.kind, name), thing)
                return name
        imported = importable_name(thing)
        if imported is not None:
            self._require(imported, thing)
            self._imported[imported] = Entry(imported, cast(Thing, thing))  # its module may have been loaded again
            return imported
        own = fallback or getattr(thing, "__name__", None) or getattr(thing, "name", None) or type(thing).__name__
        name = str(own).strip("<>").replace(":", " ")
        # One of a user's own may be defined again under its name, as in a notebook, but not within one study.
        is_another = _NAMED is not None and _NAMED.setdefault((self.kind, name), thing) is not thing
        if is_another or (name in self._entries and self._entries[name].is_ours):
            raise ValueError(
                f"{self.kind} {name!r} is registered and another one; give yours a name of its own, as by def"
            )
        self._add(Entry(name, cast(Thing, thing)))
        return name

    def adopt(self, entry: Entry[Thing]) -> None:
        """Register what another process has sent."""
        self._entries[entry.name] = entry

    def __getitem__(self, name: object) -> Thing:
        """Return the thing of a name; see :meth:`entry`."""
        return self.entry(name).thing

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def title(self, name: str) -> str:
        """Return how readers see a name."""
        found = self._entries.get(name) or self._imported.get(name)
        return name.rpartition(":")[2] if found is None or found.title is None else found.title

    def entries(self) -> Mapping[str, Entry[Thing]]:
        """Return all entries by name."""
        return dict(self._entries)

    def _add(self, entry: Entry[Thing]) -> None:
        self._require(entry.name, entry.thing)
        self._entries[entry.name] = entry

    def _require(self, name: str, thing: object) -> None:
        try:
            self._check(thing)
        except TypeError as error:
            raise TypeError(f"{self.kind} {name!r}: {error}") from None


@contextmanager
def one_definition() -> Iterator[None]:
    """Let a name stand for one thing while a study is defined: two lambdas would else be one, the last of them."""
    global _NAMED
    before = _NAMED
    _NAMED = {} if before is None else before
    try:
        yield
    finally:
        _NAMED = before


def foreign_entries() -> Iterator[tuple[Register[Any], Entry[Any]]]:
    """Yield what others have registered, then what was imported by a name such as ``package.module:object``."""
    for register in _REGISTERS:
        yield from ((register, entry) for entry in register._entries.values() if not entry.is_ours)
    for register in _REGISTERS:
        yield from ((register, entry) for entry in register._imported.values())


def register_of(kind: str) -> Register[Any]:
    """Return the register of a kind of things, which there is."""
    return {register.kind: register for register in _REGISTERS}[kind]


def default_look(position: int) -> Appearance:
    """Return the look of the thing at a position among others that have none of their own."""
    turn = position // len(COLOURS)
    return Appearance(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)], LINES[turn % len(LINES)])


def object_of(kind: type, words: str) -> Callable[[object], None]:
    """Return what refuses all but objects of a class and of its subclasses, which the words name."""

    def check(thing: object) -> None:
        if not isinstance(thing, kind):
            raise TypeError(f"it must be {words}, got {described(thing)}")

    return check


def callable_thing(thing: object) -> None:
    """Refuse what cannot be called."""
    if not callable(thing):
        raise TypeError(f"it must be callable, got {thing!r}")
