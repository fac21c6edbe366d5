"""Singular values of all weights of a network over its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from .metrics.spectra import LayerSpectrum, layer_spectra

if TYPE_CHECKING:
    from .result import Result


def network_spectra(network: nn.Module) -> dict[str, tuple[float, ...]]:
    """Return the singular values of each weight as a matrix, by its layer, in descending order."""
    return {name: spectrum.values for name, spectrum in layer_spectra(network).items()}


def stable_ranks(result: Result) -> dict[str, np.ndarray]:
    """Return the stable rank ‖W‖²_F / ‖W‖²₂ of each layer at each look, in percent of the number of singular values."""
    found: dict[str, list[float]] = {}
    for snapshot in result.snapshots:
        for layer, values in snapshot.singular_values.items():
            found.setdefault(layer, []).append(100 * LayerSpectrum(values).stable_rank / len(values))
    return {layer: np.array(shares) for layer, shares in found.items()}
