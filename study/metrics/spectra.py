"""Spectral collapse in numbers: the singular values of every layer of a network, whatever its parameterization."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...layers import SPECTRAL_LAYERS, WeightShape, spectral_weights

_PLAIN_LAYERS: Final = tuple(SPECTRAL_LAYERS)


@final
@dataclass(frozen=True)
class LayerSpectrum:
    """The singular values of a weight as a matrix.

    Attributes:
        values: in descending order; of a layer of low rank those of its rank alone.
    """

    values: tuple[float, ...]

    @property
    def spectral_norm(self) -> float:
        """‖W‖₂, the largest singular value."""
        return self.values[0]

    @property
    def stable_rank(self) -> float:
        """‖W‖_F² / ‖W‖₂²: 1 where one value outweighs all others, their number where all are equal; 0 of W = 0."""
        return math.fsum(value**2 for value in self.normalized)

    @property
    def smallest(self) -> float:
        """The smallest singular value over the largest; 0 of W = 0."""
        return self.normalized[-1]

    @property
    def normalized(self) -> tuple[float, ...]:
        """The singular values over the largest; zeros of W = 0."""
        largest = self.values[0]
        return tuple(value / largest if largest else 0.0 for value in self.values)


@torch.no_grad()
def layer_spectra(network: nn.Module) -> dict[str, LayerSpectrum]:
    """Return the spectrum of each linear, convolution and embedding layer by its name; weights that are shared once.

    Spectral layers know their singular values. Other weights are decomposed, all of one shape together: for layers with
    a parametrization, such as spectral normalization, what it makes of them as in evaluation mode. No state changes.

    Args:
        network: any network; it may be both spectral and plain, and have other layers.

    Returns:
        The layers in the order in which the network has them.
    """
    values = {name: weight.singular_values().abs() for name, weight in spectral_weights(network).items()}
    matrices: dict[int, tuple[str, Tensor]] = {}
    with _as_in_evaluation(network), parametrize.cached():
        for name, module in network.named_modules():
            if isinstance(module, _PLAIN_LAYERS) and id(_parameter(module)) not in matrices:
                weight = module.weight
                assert isinstance(weight, Tensor)
                matrices[id(_parameter(module))] = name, WeightShape.of(module).to_matrix(weight)
    values |= _decomposed(dict(matrices.values()))
    ordered = {name: values[name].sort(descending=True).values for name, _ in network.named_modules() if name in values}
    return {name: LayerSpectrum(tuple(descending.tolist())) for name, descending in ordered.items()}


def _decomposed(matrices: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the singular values of matrices, which are taken in one batch for each shape."""
    groups: dict[object, list[str]] = {}
    for name, matrix in matrices.items():
        groups.setdefault((matrix.shape, matrix.dtype, matrix.device), []).append(name)
    found: dict[str, Tensor] = {}
    for names in groups.values():
        stacked = torch.stack([matrices[name] for name in names])
        if stacked.dtype != torch.float64:
            stacked = stacked.float()  # torch has no decomposition in half precision
        found |= dict(zip(names, torch.linalg.svdvals(stacked), strict=True))
    return found


def _parameter(layer: nn.Module) -> object:
    """Return the parameter behind a layer's weight, the first where there are several."""
    if parametrize.is_parametrized(layer, "weight"):
        parametrizations = layer.parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)
        stored = parametrizations["weight"]
        return getattr(stored, "original", getattr(stored, "original0", None))  # weight_norm stores two
    return layer._parameters["weight"]


@contextmanager
def _as_in_evaluation(network: nn.Module) -> Iterator[None]:
    """Put parametrizations in evaluation mode for a while: in training mode some change whenever they are read."""
    training = [
        module
        for layer in network.modules()
        if parametrize.is_parametrized(layer)
        for module in layer.parametrizations.modules()  # type: ignore[union-attr]
        if module.training
    ]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
