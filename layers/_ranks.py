"""Ranks for a budget: one for all layers, or one for each bond of each layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final, final

from torch import nn

from ..manifolds import InputMetric, Spectrum, TrainShape, bond_values, require_instance, require_number
from ._by_layer import ByLayer
from ._calibration import Calibration, require_calibration
from ._candidates import Candidate, padded_size, patterns_of
from ._joint import chosen_by
from ._report import report
from ._specification import Specification

# Ranks grow one by one up to this one, and by its inverse part of themselves from there.
_STEP: Final = 32


def rank_for(
    network: nn.Module, z: float, spec: Specification, skip: Iterable[str] = (), joint: Iterable[str] = ()
) -> int:
    """Return the largest rank, one for all layers, with which the network's Z is at most ``z`` percent.

    See :func:`ranks_for` for ranks of their own for each layer and bond.

    Args:
        network: a network with torch.nn layers.
        z: the budget, in percent.
        spec: the specification, whose own rank does not count.
        skip: as in :func:`~sttp.layers.reparameterize`.
        joint: as there.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: no rank fits the budget, or the network has nothing to reparameterize.
    """
    require_number("z", z, above=0)
    require_instance("spec", spec, Specification, "STTP(...) or SVDP(...)")
    skip = patterns_of(skip)
    chosen = chosen_by(spec, network, skip, joint)
    counted = report(network, replace(spec, rank=1, tolerance=None), skip, joint)
    # All that does not depend on the rank: what is kept, and layers that are spectral already.
    names = {candidate.names[0] for candidate in chosen}
    kept = counted.kept + sum(layer.dof for layer in counted.layers if layer.name not in names)
    total = counted.dense + counted.kept
    lowest = math.inf
    # Beyond the smaller side of its matrix no layer gains from a higher rank. Downwards one by one: with an identity
    # spectrum the degrees of freedom can fall where the rank grows, so that no bisection would do.
    for rank in range(max(min(c.shape.rows, c.shape.columns) for c in chosen), 0, -1):
        ranked = replace(spec, rank=rank, tolerance=None)
        dof = sum(candidate.manifold(ranked).degrees_of_freedom for candidate in chosen)
        lowest = min(lowest, 100 * (dof + kept) / total)
        if lowest <= z:
            return rank
    raise ValueError(f"z must be at least {lowest:.4f} for this network, its lowest Z, got {z}; raise it")


def ranks_for(
    network: nn.Module,
    spec: Specification,
    *,
    z: float,
    skip: Iterable[str] = (),
    calibration: Iterable[Any] | None = None,
    joint: Iterable[str] = (),
) -> ByLayer:
    """Return ranks for each layer and bond with which the network's Z is at most ``z`` percent.

    A water-filling: from rank 1 everywhere, again and again the bond is given more whose next singular values, those of
    the unfolding of its layer's weight there, take most off the squared error for each degree of freedom that they
    cost. Errors are relative to each weight. The order does not depend on the budget, so that of two budgets the
    larger one has all ranks of the smaller one.

    Args:
        network: a network with torch.nn layers, whose weights have values.
        spec: the specification, whose own rank and tolerance do not count.
        z: the budget, in percent.
        skip: as in :func:`~sttp.layers.reparameterize`.
        joint: as there.
        calibration: as there: errors are then those in the norm of the layers' inputs, but at the bonds on the side of
            the inputs, where it has no singular values; there they are those of the weights.

    Returns:
        A tuple of ranks for each layer, one for each bond: ``dataclasses.replace(spec, rank=ranks)`` takes it.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: no ranks fit the budget, or the network has nothing to reparameterize, or no values.
    """
    require_instance("spec", spec, Specification, "STTP(...) or SVDP(...); see rank_for for one rank for all layers")
    require_number("z", z, above=0)
    if calibration is not None:
        require_calibration(calibration)
    skip = patterns_of(skip)
    spec = replace(spec, rank=1, tolerance=None)
    chosen = chosen_by(spec, network, skip, joint)
    counted = report(network, spec, skip, joint)
    if lacking := [candidate.names[0] for candidate in chosen if candidate.weight.is_meta]:
        raise ValueError(f"network has no values for {lacking[0]!r}, which lies on the meta device; load its weights")
    names = {candidate.names[0] for candidate in chosen}
    kept = counted.kept + sum(layer.dof for layer in counted.layers if layer.name not in names)
    total = counted.dense + counted.kept
    least = 100 * (counted.dof + counted.kept) / total
    if least > z:
        raise ValueError(f"z must be at least {least:.4f} for this network, its Z at rank 1, got {z}; raise it")
    metrics: list[InputMetric] | list[None] = [None] * len(chosen)
    if calibration is not None:
        metrics = Calibration(network, chosen, calibration).metrics()
    waters = [_Water.of(candidate, spec, metric) for candidate, metric in zip(chosen, metrics, strict=True)]
    while True:
        best = max(waters, key=lambda water: water.worth)
        if best.worth <= 0:
            break
        best.rise()
        if 100 * (sum(water.freedom for water in waters) + kept) / total > z:
            best.fall()
            break
    return ByLayer("rank", {name: water.ranks[1:-1] for water in waters for name in water.candidate.names})


@final
class _Water:
    """The ranks of one weight, which rise step by step.

    Attributes:
        candidate: the weight.
        ranks: R_0 … R_last.
        worth: what the next step takes off the squared relative error for each degree of freedom, 0 at the end.
    """

    def __init__(
        self, candidate: Candidate, shape: TrainShape, spectrum: Spectrum, tails: Sequence[Sequence[float]]
    ) -> None:
        self.candidate = candidate
        self.ranks = shape.ranks
        self._shape, self._spectrum, self._tails = shape, spectrum, tails
        self._modes = shape.row_modes + shape.column_modes
        self._before = self.ranks
        self._look()

    @classmethod
    def of(cls, candidate: Candidate, spec: Specification, metric: InputMetric | None) -> _Water:
        manifold = candidate.manifold(spec)
        shape = manifold.shape
        metric = None if metric is None else metric.padded(padded_size(shape, metric))
        tails = []
        for bond in bond_values(candidate.padded_matrix(shape), shape, metric):
            values = bond.square().tolist()
            total = sum(values) or 1.0
            tail = [0.0]
            for value in reversed(values):
                tail.append(tail[-1] + value / total)
            tails.append(tail[::-1])
        return cls(candidate, manifold.shape, manifold.spectrum, tails)

    @property
    def freedom(self) -> int:
        return self._spectrum.degrees_of_freedom(replace(self._shape, rank=self.ranks[1:-1]))

    def rise(self) -> None:
        self._before, self.ranks = self.ranks, self._next
        self._look()

    def fall(self) -> None:
        self.ranks = self._before
        self._look()

    def _look(self) -> None:
        """Find the next step: one bond, and where frames would be wider than tall its neighbours as well."""
        self.worth, self._next = 0.0, self.ranks
        cost = self._entries(self.ranks)
        for bond in range(1, len(self._modes)):
            raised = self._raised(bond)
            if raised is None:
                continue
            gain = sum(
                tail[before] - tail[after]
                for tail, before, after in zip(self._tails, self.ranks[1:-1], raised[1:-1], strict=True)
            )
            worth = gain / (self._entries(raised) - cost)
            if worth > self.worth:
                self.worth, self._next = worth, raised

    def _raised(self, bond: int) -> tuple[int, ...] | None:
        ranks = list(self.ranks)
        ranks[bond] = min(ranks[bond] + max(1, ranks[bond] // _STEP), len(self._tails[bond - 1]) - 1)
        if ranks[bond] == self.ranks[bond]:
            return None
        for k in range(bond, 1, -1):
            ranks[k - 1] = max(ranks[k - 1], -(-ranks[k] // self._modes[k - 1]))
        for k in range(bond, len(self._modes) - 1):
            ranks[k + 1] = max(ranks[k + 1], -(-ranks[k] // self._modes[k]))
        return tuple(ranks)

    def _entries(self, ranks: Sequence[int]) -> int:
        """Return the degrees of freedom with a free spectrum, which grow with every rank."""
        bonds = zip(self._modes, pairwise(ranks), strict=True)
        return sum(before * mode * after for mode, (before, after) in bonds) - sum(rank**2 for rank in ranks[1:-1])
