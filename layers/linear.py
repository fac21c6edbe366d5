"""The fully connected layer."""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from .spectral_layer import SpectralLayer


@final
class Linear(SpectralLayer):
    """y = x Wᵀ + b with a spectral weight: :class:`torch.nn.Linear` with ``spec=`` beside its own arguments."""

    namesake = nn.Linear

    def forward(self, input: Tensor) -> Tensor:
        """Return y of shape ``(..., out_features)`` for x of shape ``(..., in_features)``."""
        if not self.multiplies_factors():
            return F.linear(input, self.weight, self.bias)
        left, values, right = self.spectral.factors()
        return F.linear(F.linear(input, right.mT), left * values, self.bias)
