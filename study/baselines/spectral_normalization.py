"""Spectral normalization of whole networks, by torch's own parametrization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ...layers import WeightShape, require_candidates

# torch draws the first singular vectors from its global generator, which this seeds; any 63 bits will do.
_LARGEST_SEED: Final = 2**63 - 1


def spectral_normalization(
    network: nn.Module, skip: Iterable[str] = (), generator: torch.Generator | None = None
) -> nn.Module:
    """Divide each weight of linear, convolution, embedding and attention layers by an estimate of its spectral norm.

    The estimate is one power iteration better with every forward of a layer in training mode; before the first there
    are 15. Within ``torch.nn.utils.parametrize.cached()`` several forwards share one weight and one iteration. Under
    autocast torch estimates in the lower precision. Build the optimizer afterwards.

    Args:
        network: any network with torch.nn layers.
        skip: names of modules, or glob patterns for them, to leave as they are.
        generator: draws the first singular vectors; by default one with seed 0.

    Returns:
        The network.

    Raises:
        ValueError: there is no layer to normalize, or a pattern in ``skip`` matches nothing; or a transposed
            convolution has groups, whose weight torch reads as another matrix.

    Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
    """
    chosen = require_candidates(network, skip, attention="joint")
    for candidate in chosen:
        if candidate.shape.transposed and candidate.shape.groups > 1:
            raise ValueError(
                f"network has a transposed convolution with {candidate.shape.groups} groups, {candidate.names[0]!r}, "
                f"which torch's spectral normalization reads as another matrix; skip it, or use spectral_regularization"
            )
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    seed = torch.randint(_LARGEST_SEED, (), generator=generator, device=generator.device).item()
    with torch.random.fork_rng(devices=_accelerators(network)):
        torch.manual_seed(int(seed))
        for candidate in chosen:
            for layer, parameter in dict(zip(candidate.layers, candidate.parameters, strict=True)).items():
                spectral_norm(layer, parameter, n_power_iterations=1, dim=_row_dimension(candidate.shape))
    return network


def _row_dimension(shape: WeightShape) -> int:
    """Return the dimension of torch's weight that is the rows of its matrix."""
    return 1 if shape.transposed else 0


def _accelerators(network: nn.Module) -> list[int]:
    """Return the CUDA devices of a network, whose generators torch draws from."""
    devices = {parameter.device for parameter in network.parameters()}
    return sorted({device.index or 0 for device in devices if device.type == "cuda"})
