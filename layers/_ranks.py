"""Ranks for a budget: one for all layers, or one for each bond of each layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any, overload

from torch import nn

from ..manifolds import InputMetric, require_flag, require_instance, require_number
from ._by_layer import ByLayer
from ._calibration import Calibration, require_calibration
from ._candidates import Candidate, patterns_of
from ._joint import chosen_by
from ._progress import followed
from ._rank_path import Path
from ._report import CompressionReport, report
from ._specification import Specification


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
    kept, total = _fixed(report(network, replace(spec, rank=1, tolerance=None), skip, joint), chosen)
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


@overload
def ranks_for(
    network: nn.Module,
    spec: Specification,
    *,
    z: float,
    skip: Iterable[str] = (),
    calibration: Iterable[Any] | None = None,
    joint: Iterable[str] = (),
    progress: bool = False,
) -> ByLayer: ...


@overload
def ranks_for(
    network: nn.Module,
    spec: Specification,
    *,
    z: Sequence[float],
    skip: Iterable[str] = (),
    calibration: Iterable[Any] | None = None,
    joint: Iterable[str] = (),
    progress: bool = False,
) -> list[ByLayer]: ...


def ranks_for(
    network: nn.Module,
    spec: Specification,
    *,
    z: float | Sequence[float],
    skip: Iterable[str] = (),
    calibration: Iterable[Any] | None = None,
    joint: Iterable[str] = (),
    progress: bool = False,
) -> ByLayer | list[ByLayer]:
    """Return ranks for each layer and bond with which the network's Z is at most ``z`` percent.

    A water-filling: the ranks of each weight rise along a path from 1 to all there are, and again and again that weight
    rises for which this takes most off its squared relative error for each degree of freedom; see
    :mod:`~sttp.layers._rank_path`. Neither the paths nor the order depend on the budget, so that of two budgets the
    larger one has all ranks of the smaller one, and a second budget costs no time.

    Args:
        network: a network with torch.nn layers, whose weights have values.
        spec: the specification, whose own rank and tolerance do not count.
        z: the budget, in percent, or several.
        skip: as in :func:`~sttp.layers.reparameterize`.
        joint: as there.
        calibration: as there: errors are then those in the norm of the layers' inputs, but at the bonds on the side of
            the inputs, where it has no singular values; there they are those of the weights.
        progress: show on the standard error how many weights have been looked at.

    Returns:
        A tuple of ranks for each layer, one for each bond: ``dataclasses.replace(spec, rank=ranks)`` takes it. Of
        several budgets a list, with one for each.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: no ranks fit a budget, or there is none, or the network has nothing to reparameterize, or no values.
    """
    require_instance("spec", spec, Specification, "STTP(...) or SVDP(...); see rank_for for one rank for all layers")
    budgets: tuple[Any, ...] = tuple(z) if isinstance(z, Sequence) else (z,)
    if not budgets:
        raise ValueError(f"z must be a budget in percent, or several, got {z!r}; give one, such as 30")
    for budget in budgets:
        require_number("z", budget, above=0)
    require_flag("progress", progress)
    if calibration is not None:
        require_calibration(calibration)
    skip = patterns_of(skip)
    spec = replace(spec, rank=1, tolerance=None)
    chosen = chosen_by(spec, network, skip, joint)
    counted = report(network, spec, skip, joint)
    if lacking := [candidate.names[0] for candidate in chosen if candidate.weight.is_meta]:
        raise ValueError(f"network has no values for {lacking[0]!r}, which lies on the meta device; load its weights")
    kept, total = _fixed(counted, chosen)
    least = 100 * (counted.dof + counted.kept) / total
    if least > min(budgets):
        raise ValueError(
            f"z must be at least {least:.4f} for this network, its Z at rank 1, got {min(budgets)}; raise it"
        )
    metrics: Iterator[InputMetric | None] = repeat(None)
    if calibration is not None:
        metrics = Calibration(network, chosen, calibration).metrics()
    with followed(chosen, "looking for ranks", lambda candidate: candidate.names[0], progress) as each:
        paths = [Path.of(candidate, spec, next(metrics)) for candidate in each]
    found: dict[float, ByLayer] = {}
    freedom = kept + sum(path.freedom for path in paths)
    for budget in sorted(budgets):
        while (best := max(paths, key=lambda path: path.worth)).worth > 0:
            if 100 * (freedom + best.cost) / total > budget:
                break
            freedom += best.cost
            best.rise()
        found[budget] = ByLayer("rank", {name: path.ranks for path in paths for name in path.candidate.names})
    return [found[budget] for budget in budgets] if isinstance(z, Sequence) else found[z]


def _fixed(counted: CompressionReport, chosen: Sequence[Candidate]) -> tuple[int, int]:
    """Return what does not depend on ranks, the kept and layers that are spectral already, and the entries of all."""
    names = {candidate.names[0] for candidate in chosen}
    kept = counted.kept + sum(layer.dof for layer in counted.layers if layer.name not in names)
    return kept, counted.dense + counted.kept
