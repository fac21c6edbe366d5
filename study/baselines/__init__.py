"""What the paper compares with: plain weights whose spectra are normalized, or kept from collapsing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import torch
from torch import nn

from .spectral_normalization import spectral_normalization
from .spectral_regularization import SpectralRegularization, spectral_regularization


class Baseline(Protocol):
    """What gives the layers of a network normalized weights, in place, and returns the network."""

    def __call__(
        self, network: nn.Module, skip: Iterable[str] = (), generator: torch.Generator | None = None
    ) -> nn.Module:
        """Normalize the weights of all linear, convolution and embedding layers that ``skip`` does not name."""


BASELINES: Final[dict[str, Baseline]] = {"sn": spectral_normalization, "sr": spectral_regularization}

__all__ = ["BASELINES", "Baseline", "SpectralRegularization", "spectral_normalization", "spectral_regularization"]
