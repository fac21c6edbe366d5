"""Fresh frames (Obukhov et al. 2021, Sec. 9)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..manifolds import haar_frame, qr_positive


class Initialization(abc.ABC):
    """How a fresh frame is drawn. Frames are drawn in float64 on the generator's device, whatever they become."""

    @abc.abstractmethod
    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a float64 frame of shape ``(rows, columns)``."""


@final
@dataclass(frozen=True)
class NoisyIdentity(Initialization):
    """The orthogonal factor of I + αN, N normal and clamped to [−1, 1]: the paper's choice, α = 1e-4 (Sec. 9)."""

    scale: float = 1e-4

    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a frame near the truncated identity."""
        device = None if generator is None else generator.device
        noise = torch.randn(rows, columns, dtype=torch.float64, device=device, generator=generator).clamp(-1, 1)
        return qr_positive(torch.eye(rows, columns, dtype=torch.float64, device=device) + self.scale * noise)[0]


@final
@dataclass(frozen=True)
class Haar(Initialization):
    """Uniformly distributed frames."""

    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return a uniformly distributed frame."""
        device = None if generator is None else generator.device
        return haar_frame(rows, columns, dtype=torch.float64, device=device, generator=generator)


@final
@dataclass(frozen=True)
class TruncatedIdentity(Initialization):
    """The first columns of the identity, without any noise."""

    def frame(self, rows: int, columns: int, generator: torch.Generator | None = None) -> Tensor:
        """Return the truncated identity."""
        return torch.eye(rows, columns, dtype=torch.float64, device=None if generator is None else generator.device)
