"""Fresh frames (Obukhov et al. 2021, Sec. 9)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from ..manifolds import haar_frame, qr_positive, require_instance, require_integer, require_number

# Of the sizes that torch takes at all; a frame of so many rows fits no memory.
_LARGEST: Final = 2**31 - 1


class Initialization(abc.ABC):
    """How a fresh frame is drawn. Frames are drawn in float64 on the generator's device, whatever they become."""

    @abc.abstractmethod
    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a float64 frame of shape ``(rows, columns)``.

        Raises:
            TypeError: a size is no integer, or the generator is none.
            ValueError: there are not at least as many rows as columns, and a column.
        """


@final
@dataclass(frozen=True)
class NoisyIdentity(Initialization):
    """The orthogonal factor of I + αN, N normal and clamped to [−1, 1]: the paper's choice, α = 1e-4 (Sec. 9)."""

    scale: float = 1e-4

    def __post_init__(self) -> None:
        require_number("scale", self.scale, least=0)

    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a frame near the truncated identity."""
        device = _device(rows, columns, generator)
        noise = torch.randn(rows, columns, dtype=torch.float64, device=device, generator=generator).clamp(-1, 1)
        return qr_positive(torch.eye(rows, columns, dtype=torch.float64, device=device) + self.scale * noise)[0]


@final
@dataclass(frozen=True)
class Haar(Initialization):
    """Uniformly distributed frames."""

    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a uniformly distributed frame."""
        device = _device(rows, columns, generator)
        return haar_frame(rows, columns, dtype=torch.float64, device=device, generator=generator)


@final
@dataclass(frozen=True)
class TruncatedIdentity(Initialization):
    """The first columns of the identity, without any noise."""

    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the truncated identity."""
        return torch.eye(rows, columns, dtype=torch.float64, device=_device(rows, columns, generator))


def _device(rows: int, columns: int, generator: torch.Generator | None) -> torch.device | None:
    """Return where a frame is drawn, after a look at what it is drawn from."""
    for name, size in (("rows", rows), ("columns", columns)):
        require_integer(name, size, least=1)
        if size > _LARGEST:
            raise ValueError(f"{name} must be at most {_LARGEST}, got {size}")
    if columns > rows:
        raise ValueError(f"columns must be at most the {rows} rows of a frame, got {columns}")
    if generator is None:
        return None
    require_instance("generator", generator, torch.Generator, "a torch.Generator, or None for torch's global one")
    return generator.device
