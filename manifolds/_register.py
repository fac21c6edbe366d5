"""Retractions, geometries and spectra by name, so that a file can say which one it needs: ours and a user's alike."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar

from ._geometry import Embedded, Geometry, Householder, Riemannian
from ._require import described
from ._retraction import Retraction
from ._retractions import QR, Cayley, Exponential, Polar
from ._spectra import Fixed, Free, Identity, Lipschitz, Spectrum
from ._train_shape import TrainShape

AnyRetraction = TypeVar("AnyRetraction", bound=type[Retraction])
AnyGeometry = TypeVar("AnyGeometry", bound=type[Geometry])
AnySpectrum = TypeVar("AnySpectrum", bound=type[Spectrum])

# What a description says of an object beside its fields: the kind, and for a user's the place that it comes from.
KIND: Final = "kind"
ORIGIN: Final = "from"

_DECORATORS: Final[dict[type, str]] = {
    Retraction: "register_retraction",
    Geometry: "register_geometry",
    Spectrum: "register_spectrum",
}

_kinds: dict[str, type] = {}


def register_retraction(kind: AnyRetraction) -> AnyRetraction:
    """Let networks with a retraction of one's own be saved and loaded; usable as a decorator.

    It is stored as the class's name and the values of its fields, and made again from them by the class of that name
    that is registered when a network is loaded. A class that is defined again, in a notebook for instance, takes the
    place of the one before.

    Args:
        kind: a frozen dataclass that subclasses :class:`Retraction`, whose fields hold numbers, strings, truth values,
            None, tuples, or objects of registered kinds.

    Returns:
        The class.

    Raises:
        TypeError: it is no such class.
        ValueError: another class of this name is registered.
    """
    return _register(kind, Retraction)


def register_geometry(kind: AnyGeometry) -> AnyGeometry:
    """Let networks with a geometry of one's own be saved and loaded; as :func:`register_retraction`."""
    return _register(kind, Geometry)


def register_spectrum(kind: AnySpectrum) -> AnySpectrum:
    """Let networks with a spectrum of one's own be saved and loaded; as :func:`register_retraction`."""
    return _register(kind, Spectrum)


def to_description(value: Any) -> Any:
    """Return an object of a registered kind in the values that JSON has, so that :func:`from_description` returns it.

    Raises:
        ValueError: the kind, or one in its fields, is not registered, or does not come back from its fields.
    """
    description = _described(value)
    if from_description(description) != value:
        raise ValueError(
            f"{value!r} cannot be saved: made anew from its fields it is another; let its fields say all that it is"
        )
    return description


def from_description(description: Any) -> Any:
    """Return the object that :func:`to_description` described; only classes that are registered are called.

    Raises:
        ValueError: a kind is unknown, or its class refuses the values.
    """
    if isinstance(description, list):
        return tuple(from_description(item) for item in description)
    if not isinstance(description, dict):
        return description
    name = description.get(KIND)
    kind = _kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        origin = description.get(ORIGIN)
        where = f", which was {origin!r}" if isinstance(origin, str) else ""
        raise ValueError(
            f"the description cannot be read: there is no kind {name!r} of retraction, geometry or spectrum; first "
            f"import the module that registers it{where}"
        )
    values = {key: from_description(value) for key, value in description.items() if key not in (KIND, ORIGIN)}
    try:
        return kind(**values)
    except Exception as error:  # whatever a class of somebody else has for values that are none of its own
        raise ValueError(f"{name} cannot be made of {described(values)}: {error}") from None


def _described(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        if _kinds.get(kind.__name__) is not kind:
            raise ValueError(f"{value!r} cannot be saved: {kind.__name__} is not registered; {_cure(kind)}")
        is_ours = kind.__module__.startswith(f"{__package__}.")
        origin = {} if is_ours else {ORIGIN: _origin(kind)}
        values = {field.name: _described(getattr(value, field.name)) for field in fields(value) if field.init}
        return {KIND: kind.__name__, **origin, **values}
    if isinstance(value, tuple):
        return [_described(item) for item in value]
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"{described(value)} cannot be saved: give numbers, strings, tuples or registered kinds")
    return value


def _cure(kind: type) -> str:
    for base, decorator in _DECORATORS.items():
        if issubclass(kind, base):
            return f"write @sttp.manifolds.{decorator} above the class"
    return "only retractions, geometries and spectra can be"


def _register(kind: Any, base: type) -> Any:
    _require_valid(kind, base)
    known = _kinds.get(kind.__name__)
    if known is not None and _origin(known) != _origin(kind):
        raise ValueError(
            f"the name {kind.__name__!r} belongs to {_origin(known)} already, and cannot be that of {_origin(kind)}; "
            f"rename the class"
        )
    _kinds[kind.__name__] = kind
    return kind


def _require_valid(kind: Any, base: type) -> None:
    if not (isinstance(kind, type) and issubclass(kind, base)) or inspect.isabstract(kind):
        raise TypeError(
            f"{_DECORATORS[base]} takes a class that subclasses {base.__name__} and has all of its methods, "
            f"got {described(kind)}"
        )
    # A dataclass that is only a base's does not see the fields of the class itself.
    parameters = vars(kind).get("__dataclass_params__")
    if parameters is None or not (parameters.frozen and parameters.eq):
        raise TypeError(
            f"{_DECORATORS[base]} takes a frozen dataclass, got {kind.__name__}; write @dataclass(frozen=True) between "
            f"the decorator and the class"
        )
    if reserved := {KIND, ORIGIN} & set(vars(kind)["__dataclass_fields__"]):
        raise TypeError(f"{kind.__name__} must not have a field called {reserved.pop()!r}; rename it")


def _origin(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


for _retraction in (QR, Polar, Cayley, Exponential):
    register_retraction(_retraction)
for _geometry in (Riemannian, Householder):
    register_geometry(_geometry)
for _spectrum in (Free, Lipschitz, Identity, Fixed):
    register_spectrum(_spectrum)
for _part in (Embedded, TrainShape):
    _kinds[_part.__name__] = _part
