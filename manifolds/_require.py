"""What arguments must be: each refusal names the argument, the value received and the cure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from torch import Tensor


def require_instance(name: str, value: object, kind: type | tuple[type, ...], cure: str) -> None:
    """Refuse what is not of a kind.

    Args:
        name: the argument's name.
        value: what was given.
        kind: the class, or some.
        cure: what to give, such as ``"an object such as QR()"``.

    Raises:
        TypeError: the value is of another kind.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {cure}, got {described(value)}")


def require_tensor(name: str, value: object) -> None:
    """Refuse what is no tensor.

    Raises:
        TypeError: the value is none.
    """
    require_instance(name, value, Tensor, "a torch.Tensor")


def require_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: the value is something else.
    """
    require_instance(name, value, bool, "True or False")


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of some names.

    Raises:
        ValueError: the value is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {described(value)}")


def require_integer(name: str, value: Any, least: int | None = None) -> None:
    """Refuse what is no integer, or is too small. True and False are no integers here.

    Raises:
        TypeError: the value is no integer.
        ValueError: the value is below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {described(value)}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def require_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> None:
    """Refuse what is no finite real number in a range. True and False are no numbers here.

    Args:
        name: the argument's name.
        value: what was given.
        least: the smallest number allowed.
        above: all numbers allowed are larger.
        below: all numbers allowed are smaller.
        most: the largest number allowed.

    Raises:
        TypeError: the value is no real number.
        ValueError: the value is NaN, infinite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {described(value)}")
    if math.isfinite(value) and least <= float(value) <= most and above < float(value) < below:
        return
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("at least", least), ("above", above), ("below", below), ("at most", most))
        if math.isfinite(bound)
    ]
    raise ValueError(f"{name} must be {' and '.join(['finite', *bounds])}, got {value!r}")


def described(value: object) -> str:
    """Return a value for a message: its printed form, cut where it is long, and its type."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
