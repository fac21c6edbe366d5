"""What arguments must be: each refusal names the argument, the value received and the cure."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, Final, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedTensorMixin as Lazy  # type: ignore[attr-defined] # it has no public name

# No memory holds a frame of more rows or columns.
_LARGEST_SIZE: Final = 2**31 - 1

P = ParamSpec("P")
T = TypeVar("T")


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
    """Refuse what is no dense tensor.

    Raises:
        TypeError: the value is none, or sparse, nested or without values yet.
    """
    require_instance(name, value, Tensor, "a torch.Tensor")
    assert isinstance(value, Tensor)
    if not _is_dense(value):
        raise TypeError(f"{name} must be a dense torch.Tensor, got {described(value)}; give its dense form")


def require_matrices(name: str, value: Any) -> None:
    """Refuse what is no stack of matrices ``(..., n, m)`` of real numbers.

    Raises:
        TypeError: the value is no tensor, or of numbers that are not real.
        ValueError: it has fewer than two dimensions.
    """
    require_tensor(name, value)
    if not value.is_floating_point():
        raise TypeError(f"{name} must have real numbers, got {described(value)}; convert it with .to(torch.float32)")
    if value.dim() < 2:
        raise ValueError(f"{name} must have shape (..., n, m), got {described(value)}; give matrices")


def require_precision(dtype: torch.dtype, name: str) -> None:
    """Refuse a precision in which orthogonality would be lost.

    Raises:
        TypeError: the dtype is not float32 or float64.
    """
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} must be float32 or float64, got {described(dtype)}; frames keep their own precision under "
            f"torch.autocast, which casts the products alone"
        )


def require_device(device: Any) -> None:
    """Refuse what names no device, or one that is not there.

    Raises:
        TypeError: it is neither a device nor a string nor None.
        ValueError: torch knows no device of this name, or has none of it.
    """
    cure = "a torch.device that there is, such as 'cpu' or 'cuda:0', or None"
    if device is None:
        return
    require_instance("device", device, (torch.device, str), cure)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # torch has one for each backend
        raise ValueError(f"device must be {cure}, got {described(device)}") from None


def require_source(dtype: Any, device: Any, generator: Any = None) -> None:
    """Refuse what frames cannot be drawn with.

    Args:
        dtype: float32, float64 or None.
        device: where they are to lie, or None.
        generator: on that device, or None.

    Raises:
        TypeError: one of them is of another kind, or the precision another one.
        ValueError: the device is not there, or not the generator's.
    """
    if dtype is not None:
        require_precision(dtype, "dtype")
    require_device(device)
    if generator is None:
        return
    require_instance("generator", generator, torch.Generator, "a torch.Generator, or None for torch's global one")
    place = torch.get_default_device() if device is None else torch.device(device)
    if place.type not in ("meta", generator.device.type):
        raise ValueError(f"generator must be on the device of what is drawn, {place}, got one on {generator.device}")


def require_function(name: str, value: object, cure: str) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: it cannot.
    """
    if not callable(value):
        raise TypeError(f"{name} must be {cure}, got {described(value)}")


def _is_dense(value: Tensor) -> bool:
    return not isinstance(value, Lazy) and value.layout is torch.strided and not value.is_nested


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
        if size > _LARGEST_SIZE:
            raise ValueError(f"{name} must have sizes of at most {_LARGEST_SIZE}, got {size}")
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
    if isinstance(x, Tensor) and _is_dense(x):  # the usual case, of which all is asked once
        shape, dtype, device = x.shape, x.dtype, x.device
        fits = dtype in (torch.float32, torch.float64) and len(shape) >= 2 and shape[-2] >= shape[-1]
        if fits and all(is_like(other, shape, dtype, device) for other in others.values()):
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


def naming_points(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method of a manifold say what it means where LAPACK fails: it is points and vectors that are none.

    Whether they are finite is not asked before, since that would read them back from the device.
    """

    @functools.wraps(method)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined] # torch exports it without saying so
            raise ValueError(
                f"each point x or y and vector u or v must be finite, and a point on the manifold and near enough "
                f"where it is to be reached from another, got some for which {method.__name__} fails: {error}"
            ) from error

    return told


def is_like(value: Any, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether a value is a dense tensor of a shape, dtype and device."""
    if not isinstance(value, Tensor) or not _is_dense(value):
        return False
    return value.shape == shape and value.dtype == dtype and value.device == device


def described(value: object) -> str:
    """Return a value for a message: its printed form, cut where it is long, and its type."""
    if isinstance(value, Tensor):
        if isinstance(value, Lazy):
            return "a tensor that has no shape yet"
        if value.is_nested:
            return "a nested tensor"
        if value.layout is not torch.strided:
            return f"a tensor of layout {value.layout} and {value.dtype}"
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
