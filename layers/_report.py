"""Counts of degrees of freedom, per layer and in all, and ranks for a budget."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, final

from torch import Tensor, nn

from ..manifolds import SpectralTensorTrain
from ._conversion import require_candidates
from ._feasibility import require_feasible
from ._specification import Specification
from ._spectral_layer import SpectralLayer
from ._spectral_weight import SpectralWeight, spectral_weights


@final
@dataclass(frozen=True)
class LayerReport:
    """One reparameterized weight: its matrix, rank, degrees of freedom and number of entries.

    ``fit_error`` is the relative Frobenius error of the weight that it was fitted to, None for a fresh one.
    """

    name: str
    rows: int
    columns: int
    rank: int
    dof: int
    dense: int
    fit_error: float | None = None


@final
@dataclass(frozen=True)
class CompressionReport:
    """What a network's reparameterization saves (Obukhov et al. 2021, Eq. 11). Printed, it is a table.

    Attributes:
        layers: the reparameterized weights, shared ones once, in the network's order.
        kept: number of all other parameters and running statistics.
    """

    layers: tuple[LayerReport, ...]
    kept: int

    @property
    def dof(self) -> int:
        """Degrees of freedom of all reparameterized weights."""
        return sum(layer.dof for layer in self.layers)

    @property
    def dense(self) -> int:
        """Number of entries of the same weights."""
        return sum(layer.dense for layer in self.layers)

    @property
    def z(self) -> float:
        """Compression Z in percent: 100 (dof + kept) / (dense + kept)."""
        return 100 * (self.dof + self.kept) / (self.dense + self.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return z, dof, dense, kept and the layers as plain values, for JSON."""
        layers = [asdict(layer) for layer in self.layers]
        return {"z": self.z, "dof": self.dof, "dense": self.dense, "kept": self.kept, "layers": layers}

    def __str__(self) -> str:
        width = max([len(layer.name) for layer in self.layers] + [len("all with the rest")])
        lines = [f"{'layer':<{width}}  {'matrix':>13}  {'rank':>4}  {'freedom':>11}  {'dense':>11}  {'%':>7}"]
        for layer in self.layers:
            size = f"{layer.rows} x {layer.columns}"
            share = 100 * layer.dof / layer.dense
            counts = f"{layer.dof:>11,}  {layer.dense:>11,}  {share:>7.3f}"
            lines.append(f"{layer.name:<{width}}  {size:>13}  {layer.rank:>4}  {counts}")
        for title, dof, dense in (
            ("all weights", self.dof, self.dense),
            ("the rest", self.kept, self.kept),
            ("all with the rest", self.dof + self.kept, self.dense + self.kept),
        ):
            share = 100 * dof / dense if dense else 100.0
            lines.append(f"{title:<{width}}  {'':>13}  {'':>4}  {dof:>11,}  {dense:>11,}  {share:>7.3f}")
        return "\n".join(lines)


def report(network: nn.Module, spec: Specification | None = None, skip: Iterable[str] = ()) -> CompressionReport:
    """Count the degrees of freedom of a network.

    Args:
        network: a reparameterized network, or with ``spec`` any other, also on the meta device.
        spec: count what :func:`~sttp.layers.reparameterize` with this specification would give.
        skip: as there.

    Raises:
        ValueError: the network has no spectral layer and no ``spec`` is given, or frames off their manifold, or see
            ``reparameterize``.
    """
    if spec is not None:
        chosen = require_candidates(network, skip)
        rows = [_row(c.names[0], spec.manifold(c.shape)) for c in chosen]
        return CompressionReport(tuple(rows), _numel(network) - sum(c.weight.numel() for c in chosen))
    weights = spectral_weights(network)
    if not weights:
        raise ValueError(
            f"network has no spectral layer: {type(network).__name__} is dense; pass spec= to count what it would have"
        )
    require_feasible(weights)
    rows = [_row(name, weight.manifold, weight.fit_error) for name, weight in weights.items()]
    return CompressionReport(tuple(rows), _numel(network))


def ranks_for(network: nn.Module, z: float, spec: Specification, skip: Iterable[str] = ()) -> int:
    """Return the largest rank with which the network's Z is at most ``z`` percent.

    Args:
        network: a network with torch.nn layers.
        z: the budget, in percent.
        spec: the specification, whose own rank does not count.
        skip: as in :func:`~sttp.layers.reparameterize`.

    Raises:
        ValueError: no rank fits the budget, or the network has nothing to reparameterize.
    """
    shapes = [candidate.shape for candidate in require_candidates(network, skip)]
    dense = sum(shape.rows * shape.columns for shape in shapes)
    kept = report(network, spec, skip).kept
    lowest = math.inf
    # Beyond the smaller side of its matrix no layer gains from a higher rank. Downwards one by one: with an identity
    # spectrum the degrees of freedom can fall where the rank grows, so that no bisection would do.
    for rank in range(max(min(shape.rows, shape.columns) for shape in shapes), 0, -1):
        ranked = replace(spec, rank=rank)
        dof = sum(ranked.shape(shape).degrees_of_freedom(spec.spectrum.is_identity) for shape in shapes)
        lowest = min(lowest, 100 * (dof + kept) / (dense + kept))
        if lowest <= z:
            return rank
    raise ValueError(f"z must be at least {lowest:.4f} for this network, its lowest Z, got {z}; raise it")


def _row(name: str, manifold: SpectralTensorTrain, fit_error: float | None = None) -> LayerReport:
    shape = manifold.shape
    dense = shape.rows * shape.columns
    return LayerReport(
        name, shape.rows, shape.columns, shape.center_rank, manifold.degrees_of_freedom, dense, fit_error
    )


def _numel(network: nn.Module) -> int:
    """Count parameters and running statistics outside spectral weights, shared ones once."""
    tensors: dict[int, Tensor] = {}
    for module in network.modules():
        if isinstance(module, SpectralWeight):
            continue
        tensors.update({id(p): p for p in module._parameters.values() if p is not None})
        if not isinstance(module, SpectralLayer):  # whose only buffer stands for a row of its weight
            buffers = {name: b for name, b in module._buffers.items() if b is not None and b.is_floating_point()}
            tensors.update({id(b): b for name, b in buffers.items() if name not in module._non_persistent_buffers_set})
    inside = {id(p) for weight in spectral_weights(network).values() for p in weight.parameters()}
    return sum(tensor.numel() for key, tensor in tensors.items() if key not in inside)
