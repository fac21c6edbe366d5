"""Spectra of a network over its training."""

from __future__ import annotations

from typing import Any, Final, Self, final

import numpy as np
from torch import nn

from .spectra import LayerSpectrum, layer_spectra

# What heat maps and curves are drawn of, by the names that readers see.
MEASURES: Final = {"spectral norm": "spectral_norm", "stable rank": "stable_rank", "smallest value": "smallest"}


@final
class SpectrumRecord:
    """What :func:`layer_spectra` has found at some steps of a training.

    Attributes:
        steps: the steps, in ascending order.
        spectra: for each of them, the spectra by layer.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.spectra: list[dict[str, LayerSpectrum]] = []

    def add(self, step: int, network: nn.Module) -> None:
        """Look at a network after a number of steps.

        Raises:
            ValueError: the step is not above the last one, or the network has other layers than before.
        """
        if self.steps and step <= self.steps[-1]:
            raise ValueError(f"step must be above the last one, {self.steps[-1]}, got {step}")
        found = layer_spectra(network)
        if self.spectra and sizes(found) != sizes(self.spectra[0]):
            raise ValueError(f"network must have the layers {', '.join(self.layers)}, got {', '.join(found)}")
        self.steps.append(step)
        self.spectra.append(found)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers; none before the first look."""
        return tuple(self.spectra[0]) if self.spectra else ()

    def values(self, layer: str) -> np.ndarray:
        """Return the singular values of a layer over those of norm ‖W‖₂, ``(looks, number of values)``: a heat map."""
        return np.array([found[layer].normalized for found in self.spectra])

    def measure(self, name: str) -> np.ndarray:
        """Return one of the measures in :data:`MEASURES` of all layers, ``(looks, layers)``."""
        return np.array([[getattr(spectrum, MEASURES[name]) for spectrum in found.values()] for found in self.spectra])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and checkpoints."""
        spectra = [{layer: list(spectrum.values) for layer, spectrum in found.items()} for found in self.spectra]
        return {"steps": list(self.steps), "spectra": spectra}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the record that :meth:`to_dict` was called on."""
        record = cls()
        record.steps = list(values["steps"])
        record.spectra = [
            {layer: LayerSpectrum(tuple(spectrum)) for layer, spectrum in found.items()} for found in values["spectra"]
        ]
        return record


def sizes(spectra: dict[str, LayerSpectrum]) -> dict[str, int]:
    """Return the number of singular values of each layer."""
    return {layer: len(spectrum.values) for layer, spectrum in spectra.items()}
