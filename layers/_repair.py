"""Networks whose frames are off their manifold, or whose parameters have lost theirs, made sound again."""

from __future__ import annotations

import torch
from torch import nn

from ._spectral_weight import spectral_weights


@torch.no_grad()
def repair(network: nn.Module) -> dict[str, float]:
    """Project all frames of a network to the nearest points of their manifolds, and give parameters manifolds again.

    The frames are written in place. Where a parameter was replaced, an optimizer built earlier must be built anew.

    Args:
        network: any module; its weights in Householder geometries, which are feasible as they are, are left alone.

    Returns:
        For each layer with manifold parameters the largest ‖XᵀX − I‖_F that its frames had.

    Raises:
        ValueError: a frame has entries that are NaN or infinite, or lies on the meta device.
        RuntimeError: a parameter was made something else than a parameter, by sharding for instance.
    """
    weights = spectral_weights(network)
    weights = {name: weight for name, weight in weights.items() if weight.parameter_manifolds[0] is not None}
    for name, weight in weights.items():  # before anything is changed
        if not all(not frame.is_meta and frame.isfinite().all() for frame in weight.coordinates):
            raise ValueError(f"layer {name!r} has frames without values, NaN or infinite; load or initialize it")
    errors = {}
    for name, weight in weights.items():
        weight.restore_manifolds()
        weight.checked_parameters()
        errors[name] = float(weight.orthogonality_error())
        for frame, manifold in zip(weight.coordinates, weight.parameter_manifolds, strict=False):
            if manifold is not None:
                frame.copy_(manifold.projx(frame.detach().to(torch.float64)))
    return errors
