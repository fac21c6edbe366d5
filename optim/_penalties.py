"""Penalties on the spectra of a network (Obukhov et al. 2021, Sec. 3.4)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from ..manifolds import SpectrumOwner, require_instance, require_number

# Width of the interval in which the divergence penalty wants the spectrum (Jiang et al. 2018).
DIVERGENCE_WIDTH: Final = 0.1
# Equal neighbours in the spectrum would make the divergence penalty infinite: gaps are clamped here.
SMALLEST_GAP: Final = 1e-6
# A singular value of zero would make the D-optimal penalty infinite, and a spectrum of zeros its normalization: they
# are clamped here, as in the paper's own code.
SMALLEST_VALUE: Final = 1e-7
SMALLEST_SCALE: Final = 1e-8


def d_optimal(network: nn.Module) -> Tensor:
    """Return −Σ log|s_i| over all normalized singular values of a network, divided by their number.

    The values of each weight are divided by the largest, as in the flavour `lipschitz`, with which this penalty at
    weight 1 makes the paper's flavour R. It is 0 where all are equal, and draws small ones up; values
    below 1e-7 count as that, and give no direction.

    Args:
        network: a module with weights that are :class:`~sttp.manifolds.SpectrumOwner`; shared ones count once.

    Raises:
        ValueError: the network has no such weight.
    """
    values = torch.cat(_normalized_spectra(network))
    return -values.clamp(min=SMALLEST_VALUE).log().mean()


def divergence(network: nn.Module, width: float = DIVERGENCE_WIDTH) -> Tensor:
    """Return the divergence penalty (Jiang et al. 2018), which spreads each spectrum in [1 − width, 1].

    Per weight, over the normalized singular values in descending order, the mean over i ≥ 2 of
    (1 − s_i)²/width² − log(s_{i−1} − s_i), gaps clamped below at 1e-6; then the mean over the weights. A weight of rank
    one contributes 0. Equal values give no direction: start from ``linspace(1, 1 − width, r)``.

    Args:
        network: as for :func:`d_optimal`.
        width: a in the source.

    Raises:
        ValueError: the network has no weight with a spectrum, or the width is not positive.
    """
    require_number("width", width, above=0)
    penalties = []
    for values in _normalized_spectra(network):
        ordered = values.sort(descending=True).values
        gaps = (ordered[:-1] - ordered[1:]).clamp(min=SMALLEST_GAP)
        terms = ((1 - ordered[1:]) / width).square() - gaps.log()
        penalties.append(terms.sum() / max(len(terms), 1))
    return torch.stack(penalties).mean()


def _normalized_spectra(network: nn.Module) -> list[Tensor]:
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    spectra = [module.singular_values().abs() for module in network.modules() if isinstance(module, SpectrumOwner)]
    if not spectra:
        raise ValueError(
            f"network has no weight with a spectrum: {type(network).__name__} is dense; reparameterize it first"
        )
    return [values / values.amax().clamp(min=SMALLEST_SCALE) for values in spectra]
