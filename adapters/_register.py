"""Adapters by name, so that a file can say which one it needs: ours and a user's alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar, cast

from ..manifolds import described, from_description, to_description
from ._adapter import Adapter

Kind = TypeVar("Kind", bound=type)

_KIND: Final = "adapter"
_kinds: dict[str, type] = {}


def register_adapter(kind: Kind) -> Kind:
    """Let adapters of a class be saved and loaded; usable as a decorator.

    Args:
        kind: a frozen dataclass that subclasses :class:`Adapter`, whose fields hold numbers, strings, truth values,
            None, tuples, retractions, geometries and spectra, or objects of classes given to :func:`register_part`.

    Returns:
        The class.

    Raises:
        TypeError: it is no such class.
        ValueError: another class of this name is registered.
    """
    if not (isinstance(kind, type) and issubclass(kind, Adapter)):
        raise TypeError(f"register_adapter takes a class that subclasses Adapter, got {described(kind)}")
    return register_part(kind)


def register_part(kind: Kind) -> Kind:
    """Let objects of a frozen dataclass stand in the fields of adapters; as :func:`register_adapter`."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise TypeError(f"what is registered must be a frozen dataclass, got {described(kind)}")
    known = _kinds.get(kind.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"the name {kind.__name__!r} belongs to {known.__module__} already; rename the class")
    _kinds[kind.__name__] = kind
    return kind


def describe(value: Any) -> Any:
    """Return an adapter in the values that JSON has.

    Raises:
        ValueError: a class is not registered, or a field holds something else than :func:`register_adapter` says.
    """
    if _kinds.get(type(value).__name__) is type(value):
        return {
            _KIND: type(value).__name__,
            **{field.name: describe(getattr(value, field.name)) for field in fields(cast(Any, value))},
        }
    if isinstance(value, Adapter):
        raise ValueError(f"{value!r} cannot be saved: write @sttp.adapters.register_adapter above its class")
    if isinstance(value, tuple):
        return [describe(item) for item in value]
    return to_description(value)


def adapter_of(description: Any) -> Any:
    """Return what :func:`describe` described; only classes that are registered are called.

    Raises:
        ValueError: a kind is unknown, or its class refuses the values.
    """
    if isinstance(description, list):
        return tuple(map(adapter_of, description))
    if not isinstance(description, Mapping) or _KIND not in description:
        return from_description(description)
    kind = _kinds.get(str(description[_KIND]))
    if kind is None:
        raise ValueError(f"there is no adapter {description[_KIND]!r}; first import the module that registers it")
    values = {name: adapter_of(value) for name, value in description.items() if name != _KIND}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{kind.__name__} cannot be made of {described(values)}: {error}") from None
