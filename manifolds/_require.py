"""What arguments must be: each refusal names the argument, the value received and the cure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
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
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floating-point numbers
        number = math.inf
    if math.isfinite(number) and least <= number <= most and above < number < below:
        return
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (("at least", least), ("above", above), ("below", below), ("at most", most))
        if math.isfinite(bound)
    ]
    raise ValueError(f"{name} must be {' and '.join(['finite', *bounds])}, got {described(value)}")


def require_shape(name: str, shape: object, dimensions: int = 0) -> tuple[int, ...]:
    """Return a shape as a tuple.

    Args:
        name: the argument's name.
        shape: what was given.
        dimensions: how many there must be at least.

    Raises:
        TypeError: it is no sequence of integers.
        ValueError: a size is negative, or there are too few.
    """
    if isinstance(shape, str) or not isinstance(shape, Sequence):
        raise TypeError(f"{name} must be a sequence of integers, got {described(shape)}")
    for size in shape:
        require_integer(name, size, least=0)
    if len(shape) < dimensions:
        raise ValueError(f"{name} must have at least {dimensions} dimensions, got {tuple(shape)}")
    return tuple(shape)


def require_frame_shape(name: str, shape: object) -> tuple[int, int]:
    """Return n and p of a shape ``(..., n, p)``.

    Raises:
        TypeError: it is no sequence of integers.
        ValueError: a size is negative, there are fewer than two, or n is below p.
    """
    sizes = require_shape(name, shape, 2)
    n, p = sizes[-2:]
    if n < p:
        raise ValueError(f"{name} must be (..., n, p) with n >= p, got {sizes}; a frame is no wider than tall")
    return n, p


def require_frames(name: str, value: Any) -> None:
    """Refuse what is no stack of real matrices ``(..., n, p)``, n ≥ p, in float32 or float64.

    Raises:
        TypeError: the value is no tensor, or of another dtype.
        ValueError: it has another shape.
    """
    require_tensor(name, value)
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} must be float32 or float64, got {described(value)}; cast it, and leave what is to be faster to "
            f"torch.autocast, which casts products alone"
        )
    if value.dim() < 2 or value.shape[-2] < value.shape[-1]:
        raise ValueError(f"{name} must have shape (..., n, p) with n >= p, got {tuple(value.shape)}; transpose it")


def require_fitting(x: Any, **others: Any) -> None:
    """Refuse frames and vectors at them that do not fit: one matrix size, precision and device.

    Raises:
        TypeError: one is no tensor, or of another precision than ``x``.
        ValueError: ``x`` is no stack of frames ``(..., n, p)``, or another one has other matrices, leading dimensions
            that do not broadcast with those of ``x``, or another device.
    """
    fits = isinstance(x, Tensor) and x.dtype in (torch.float32, torch.float64) and x.dim() >= 2
    if fits and x.shape[-2] >= x.shape[-1] and all(_fits(x, other) for other in others.values()):
        return
    require_frames("x", x)
    for name, other in others.items():
        require_tensor(name, other)
        if other.dtype != x.dtype:
            raise TypeError(f"{name} must have the dtype of x, {x.dtype}, got {described(other)}; cast it")
        if other.device != x.device:
            raise ValueError(f"{name} must be on the device of x, {x.device}, got {other.device}; move it")
        if other.shape[-2:] != x.shape[-2:]:
            raise ValueError(
                f"{name} must be made of matrices of the size of x, {tuple(x.shape[-2:])}, got a tensor of shape "
                f"{tuple(other.shape)}; reshape it"
            )
        try:
            torch.broadcast_shapes(x.shape, other.shape)
        except RuntimeError:
            raise ValueError(
                f"{name} must have leading dimensions that broadcast with those of x, {tuple(x.shape)}, got "
                f"{tuple(other.shape)}; expand it"
            ) from None


def _fits(x: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and other.shape == x.shape and other.dtype == x.dtype and other.device == x.device


def described(value: object) -> str:
    """Return a value for a message: its printed form, cut where it is long, and its type."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
