"""The dictionaries of arrays in Python's pickle format that some data sets are published in, read without their code.

A pickle is a program that may call whatever it names. Here it may name four things, by which numpy wrote arrays and
Python 3 wrote bytes, and gets stand-ins of our own for them: arrays of plain numbers come out, and nothing else runs.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import numpy as np

# Names of numpy's modules of old and of today.
ARRAY_MAKERS: Final = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
ARRAY_TYPE: Final = ("numpy", "ndarray")
NUMBER_TYPE: Final = ("numpy", "dtype")
BYTES_MAKER: Final = ("_codecs", "encode")
NUMBER_KINDS: Final = "biuf"


def read_arrays(content: bytes, file: object) -> dict[str, Any]:
    """Return the dictionary in a pickle, its keys as text and its arrays as numpy's.

    Args:
        content: the pickle; text that Python 2 wrote comes back as bytes.
        file: what errors call it.

    Raises:
        ValueError: it is damaged, is no dictionary, or names anything but arrays and bytes.
    """
    try:
        found = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(
            f"{file} is refused: {type(error).__name__}: {error}; fetch the published archive again, "
            "and never load such a file by other means"
        ) from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{file} holds no dictionary but {type(found).__name__}; fetch the published archive again")
    return {_text(key): value.array if isinstance(value, _Array) else value for key, value in found.items()}


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


@final
class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        """Return a stand-in for one of the four names; a bound method, which a pickle cannot change."""
        wanted = (module, name)
        if wanted in ARRAY_MAKERS:
            return self._make_array
        if wanted == ARRAY_TYPE:
            return "ndarray"
        if wanted == NUMBER_TYPE:
            return self._make_type
        if wanted == BYTES_MAKER:
            return self._make_bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")

    def _make_array(self, *_: object) -> _Array:
        return _Array()

    def _make_type(self, name: str | bytes, *_: object) -> _NumberType:
        return _NumberType(_text(name))

    def _make_bytes(self, text: str | bytes, encoding: str | bytes) -> bytes:
        if not isinstance(text, str) or _text(encoding) != "latin1":
            raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, which no bytes need")
        return text.encode("latin1")


@final
class _NumberType:
    """A dtype of plain numbers as numpy pickles it: its name, and then a state with the order of bytes."""

    __slots__ = ("dtype",)

    def __init__(self, name: str) -> None:
        dtype = np.dtype(name)
        if dtype.kind not in NUMBER_KINDS:
            raise pickle.UnpicklingError(f"it holds an array of {name!r}, which are no numbers")
        self.dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        self.dtype = self.dtype.newbyteorder(">" if order == ">" else "<")


@final
class _Array:
    """An array as numpy pickles it: empty, and then a state of version, shape, dtype, order and bytes."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_column_major, content = state
        flat = np.frombuffer(content, kind.dtype)
        self.array = flat.reshape(shape, order="F" if is_column_major else "C")
