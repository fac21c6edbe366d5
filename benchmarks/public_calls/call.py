"""A right call, and makers of what many of them are given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sttp.manifolds import haar_frame

Maker = Callable[[], Any]


@dataclass(frozen=True)
class Call:
    """A public function with right arguments, each made anew for every call.

    Attributes:
        package: where it is public.
        name: for the record.
        function: what is called.
        right: the arguments by name.
        changes: names of the arguments that it is there to change.
    """

    package: str
    name: str
    function: Callable[..., Any]
    right: dict[str, Maker]
    changes: tuple[str, ...] = ()


def fixed(value: Any) -> Maker:
    return lambda: value


def values(**values: Any) -> dict[str, Maker]:
    """Return makers: functions as they are, and of all else, which no call changes, what returns it."""
    return {name: value if inspect.isroutine(value) else fixed(value) for name, value in values.items()}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def frame(seed: int = 0, rows: int = 6) -> Tensor:
    return haar_frame(2, rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
