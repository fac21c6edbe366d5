"""Networks for optimizers that know no manifolds: frames as functions of free parameters."""

from __future__ import annotations

import torch
from torch import nn

from ..manifolds import Householder, SpectralTensorTrain, mark_replaced, require_flag
from ._feasibility import require_feasible
from ._spectral_weight import SpectralWeight, require_network, spectral_weights


def parametrized(network: nn.Module, *, redundant: bool | None = None) -> nn.Module:
    """Re-express the frames of a network as Householder reflections, in place, so that any optimizer is right.

    Each weight keeps its W, to rounding, and its spectrum; biases, hooks and what is shared stay. Its parameters become
    new plain ones in the Householder geometry of the same redundancy, where no step can leave the manifold, whatever
    optimizer makes it. Build that optimizer afterwards. The price: frames are computed in each forward, and a step is
    taken in coordinates, so that learning rates mean something else than on the manifold.

    Args:
        network: a network with spectral layers; its weights that are in the geometry already are left alone.
        redundant: of the Householder geometry; by default that of each weight's own. False has the fewest numbers, as
            many as the weights have degrees of freedom.

    Returns:
        The network.

    Raises:
        TypeError: the network is no module.
        ValueError: the network has no spectral layer, or frames off their manifold.
    """
    require_network(network)
    weights = spectral_weights(network)
    if not weights:
        raise ValueError(f"network has no spectral layer: {type(network).__name__} is dense; reparameterize it first")
    require_feasible(weights, exactly=True)
    if redundant is not None:
        require_flag("redundant", redundant)
    targets = {id(weight): _target(weight, redundant) for weight in weights.values()}
    others = [weight for weight in weights.values() if targets[id(weight)] != weight.manifold]
    replacements = {id(weight): _converted(weight, targets[id(weight)]) for weight in others}
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):
            if id(child) in replacements:
                setattr(module, name, replacements[id(child)])
    for weight in others:
        for parameter in weight.ordered_parameters():
            mark_replaced(parameter)
    return network


def _target(weight: SpectralWeight, redundant: bool | None) -> SpectralTensorTrain:
    source = weight.manifold
    geometry = Householder(redundant=source.geometry.redundant if redundant is None else redundant)
    return SpectralTensorTrain(source.shape, geometry, source.spectrum)


@torch.no_grad()
def _converted(weight: SpectralWeight, target: SpectralTensorTrain) -> SpectralWeight:
    """Return a new weight with the same W, of plain parameters."""
    source, point = weight.manifold, weight.point
    reference = weight.coordinates[0]
    result = SpectralWeight(target, weight.weight_shape, reference.dtype, reference.device)
    if not reference.is_meta:
        result.set_point(source.convert(point.to(torch.float64), target))
    result.fit_error = weight.fit_error
    result.calibrated_error = weight.calibrated_error
    for new, old in zip(result.ordered_parameters(), weight.ordered_parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return result.train(weight.training)
