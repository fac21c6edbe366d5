"""Which parameters an L2 penalty draws to zero."""

from __future__ import annotations

from typing import Any

from torch import nn

from ...layers import Free, spectral_weights


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]] | list[nn.Parameter]:
    """Return parameter groups for an optimizer: the penalty is for plain weights and free spectra.

    Frames have a fixed length, the entries of Householder charts would be drawn to truncated identities, and spectra
    that are normalized do not change with their scale.

    Args:
        network: any network.
        weight_decay: the penalty; with 0 the parameters are returned in one list.
    """
    if weight_decay == 0:
        return list(network.parameters())
    exempt = {id(parameter) for weight in spectral_weights(network).values() for parameter in weight.parameters()}
    for weight in spectral_weights(network).values():
        if isinstance(weight.manifold.spectrum, Free):
            exempt -= {id(parameter) for name, parameter in weight.named_parameters() if name == "spectrum"}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in network.parameters():
        groups[id(parameter) not in exempt].append(parameter)
    return [
        {"params": members, "weight_decay": weight_decay if decays else 0.0}
        for decays, members in groups.items()
        if members
    ]
