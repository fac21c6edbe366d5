"""The dictionaries of arrays in Python's pickle format that some data sets are published in, read without their code.

A pickle is a program for a small machine that may look up and call whatever the program names. The machine here is
another one: it knows the operations that numbers, text, bytes, lists, tuples, dictionaries and arrays are written in,
and refuses a program at the first other one. It looks up, imports and calls nothing for a program. The four names by
which numpy wrote arrays and Python 3 wrote bytes are words to it, which it acts upon by itself.
"""

from __future__ import annotations

import enum
import pickletools
import re
from collections.abc import Callable
from typing import Any, Final, final

import numpy as np

# Booleans, integers and floating-point numbers of so many bytes.
NUMBERS: Final = re.compile(r"[biuf]\d\d?")
# Lies on the stack where a list, tuple or dictionary begins.
MARK: Final = object()
# Characters of a name that an error shows.
SHOWN: Final = 80


@final
class Word(enum.Enum):
    """A name that a program may say."""

    ARRAY = enum.auto()
    ARRAY_TYPE = enum.auto()
    NUMBER_TYPE = enum.auto()
    BYTES = enum.auto()


# Names of numpy's modules of old and of today.
WORDS: Final = {
    "numpy.core.multiarray _reconstruct": Word.ARRAY,
    "numpy._core.multiarray _reconstruct": Word.ARRAY,
    "numpy ndarray": Word.ARRAY_TYPE,
    "numpy dtype": Word.NUMBER_TYPE,
    "_codecs encode": Word.BYTES,
}


def read_arrays(content: bytes, file: object) -> dict[str, Any]:
    """Return the dictionary in a pickle, its keys as text and its arrays as numpy's.

    Args:
        content: the pickle; text that Python 2 wrote comes back as bytes.
        file: what errors call it.

    Raises:
        ValueError: it is damaged, is no dictionary, or has anything but arrays, numbers, text and bytes.
    """
    try:
        found = _Machine(len(content)).run(content)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(
            f"{file} is refused: {type(error).__name__}: {error}; fetch the published archive again, "
            "and never load such a file by other means"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no dictionary but {type(found).__name__}; fetch the published archive again")
    return {_text(key): value.array if isinstance(value, _Array) else value for key, value in found.items()}


def _text(word: object) -> str:
    if not isinstance(word, str | bytes):
        raise TypeError(f"text must be where {type(word).__name__} is")
    return word.decode("latin1") if isinstance(word, bytes) else word


@final
class _NumberType:
    """A dtype of plain numbers as numpy pickles it: its name, and then a state with the order of bytes."""

    def __init__(self, name: str) -> None:
        if not NUMBERS.fullmatch(name):
            raise ValueError(f"it holds an array of {name[:SHOWN]!r}, which are no numbers")
        self.dtype = np.dtype(name)

    def build(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(">" if _text(state[1]) == ">" else "<")


@final
class _Array:
    """An array as numpy pickles it: empty, and then a state of version, shape, dtype, order and bytes."""

    def __init__(self) -> None:
        self.array = np.empty(0)

    def build(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_column_major, content = state
        if not isinstance(kind, _NumberType) or not isinstance(content, bytes):
            raise TypeError("an array must have numbers of a kind, and bytes")
        self.array = np.frombuffer(content, kind.dtype).reshape(shape, order="F" if is_column_major else "C")


@final
class _Machine:
    """A stack of values and marks, and a memory of values by number.

    Args:
        budget: bytes that text may be turned into in all; a file says each text once, and so needs no more than its own
            length, where a program that repeats itself could fill the memory.
    """

    def __init__(self, budget: int) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}
        self._budget = budget

    def run(self, program: bytes) -> object:
        """Return what a program makes."""
        for operation, argument, _ in pickletools.genops(program):
            step = OPERATIONS.get(operation.name)
            if step is None:
                raise ValueError(f"it has the operation {operation.name}, which no array needs")
            step(self, argument)
        return self.pop()

    def push(self, value: object) -> None:
        self._stack.append(value)

    def push_bytes(self, text: str) -> None:
        """Push text of Python 2, which the parser of operations gives as characters."""
        self.push(text.encode("latin1"))

    def push_word(self, name: str) -> None:
        if name not in WORDS:
            raise ValueError(f"it asks for {name[:SHOWN].replace(' ', '.')}, which no array needs")
        self.push(WORDS[name])

    def push_word_on_stack(self, _: None) -> None:
        name, module = self.pop(), self.pop()
        self.push_word(f"{_text(module)} {_text(name)}")

    def remember(self, number: int | None) -> None:
        self._memory[len(self._memory) if number is None else number] = self.top()

    def recall(self, number: int) -> None:
        self.push(self._memory[number])

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise TypeError(f"a list must be where {type(target).__name__} is")
        target.extend(values)

    def set_items(self, pairs: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise TypeError(f"a dictionary must be where {type(target).__name__} is")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_text(key)] = value

    def push_dictionary(self, pairs: list[Any]) -> None:
        self.push({})
        self.set_items(pairs)

    def call(self, _: None) -> None:
        """Do what a word says to a tuple."""
        values, word = self.pop(), self.pop()
        if not isinstance(values, tuple):
            raise TypeError(f"a tuple must be where {type(values).__name__} is")
        if word is Word.ARRAY:
            self.push(_Array())
        elif word is Word.NUMBER_TYPE:
            self.push(_NumberType(_text(values[0])))
        elif word is Word.BYTES:
            text, encoding = values
            if not isinstance(text, str) or _text(encoding) != "latin1":
                raise ValueError("it asks for an encoding that no bytes need")
            self._budget -= len(text)
            if self._budget < 0:
                raise ValueError("it turns the same text into bytes again and again, as no array needs")
            self.push(text.encode("latin1"))
        else:
            raise TypeError(f"a name that can be called must be where {type(word).__name__} is")

    def build(self, _: None) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(target, _Array | _NumberType) or not isinstance(state, tuple):
            raise TypeError(f"an array and its state must be where {type(target).__name__} is")
        target.build(state)

    def above_mark(self) -> list[Any]:
        """Take and return what lies above the last mark, and the mark."""
        values = []
        while (value := self._stack.pop()) is not MARK:
            values.append(value)
        return values[::-1]

    def taken(self, count: int) -> list[Any]:
        """Take and return so many values, the last one last."""
        return [self.pop() for _ in range(count)][::-1]

    def top(self) -> Any:
        if self._stack[-1] is MARK:
            raise ValueError("it has a mark where a value must be")
        return self._stack[-1]

    def pop(self) -> Any:
        value = self.top()
        del self._stack[-1]
        return value


def _nothing(machine: _Machine, argument: object) -> None:
    """Stand for operations that say how a program is written."""


def _made(make: Callable[[], object]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(make())


# All operations that are known, by the names of Python's module pickletools.
OPERATIONS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    "MARK": _made(lambda: MARK),
    "NONE": _made(lambda: None),
    "NEWTRUE": _made(lambda: True),
    "NEWFALSE": _made(lambda: False),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _Machine.push),
    **dict.fromkeys(("FLOAT", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _Machine.push_bytes),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), _Machine.push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _Machine.push),
    "EMPTY_LIST": _made(list),
    "LIST": lambda machine, _: machine.push(machine.above_mark()),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.above_mark()),
    "EMPTY_TUPLE": _made(tuple),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.above_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.taken(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.taken(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.taken(3))),
    "EMPTY_DICT": _made(dict),
    "DICT": lambda machine, _: machine.push_dictionary(machine.above_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.taken(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.above_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "GLOBAL": _Machine.push_word,
    "STACK_GLOBAL": _Machine.push_word_on_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
