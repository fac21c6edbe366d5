"""Dimension squeezing of matrix product operators (Liu et al., ACL 2021, arXiv 2106.02205)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..manifolds import RankErrors, require_instance, require_integer
from ._mpo import MPO
from ._operator import OperatorShape
from ._targets import targets


def squeeze(
    network: nn.Module, adapter: MPO, numbers: int, only: Iterable[str] = (), skip: Iterable[str] = ()
) -> dict[str, MPO]:
    """Choose the bonds of operators: 1 off the one bond of all layers that costs least, until so few numbers are left.

    What it costs is the growth of Σ_k ε_k² over the layer's bonds, by which Theorem 1 bounds the squared error; bonds
    that the smaller one leaves no room for shrink with it, and count. As published a performance is checked and the
    auxiliary cores are trained in between: adapt, train, ``detach(merge(network))``, and squeeze again.

    Args:
        network: its weights are not changed.
        adapter: an MPO, whose bonds are the largest to choose.
        numbers: how many numbers all cores together may have.
        only: names of modules, or glob patterns for them, to which to keep; all where there are none.
        skip: likewise, to leave out.

    Returns:
        The adapter of each layer, for ``adapt(network, found[name], only=name)``. Where layers share a weight, it is
        named after the first.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: a pattern matches nothing, the modes do not fit, or bonds of 1 have more numbers.
    """
    require_instance("adapter", adapter, MPO, "an MPO such as MPO()")
    require_integer("numbers", numbers, least=1)
    shapes: dict[str, OperatorShape] = {}
    squares: dict[str, list[Tensor]] = {}
    for target in targets(network, only, skip):
        weight, name = target.frozen(), target.names[0]
        shapes[name] = adapter.shape(weight.rows, weight.columns)
        squares[name] = _discarded_squares(weight.matrix, shapes[name])
    least = sum(replace(shape, rank=1).numbers for shape in shapes.values())
    if numbers < least:
        raise ValueError(f"numbers must be at least the {least} of operators whose bonds are all 1, got {numbers}")
    cuts = {name: _cheapest(shapes[name], squares[name]) for name in shapes}
    total = sum(shape.numbers for shape in shapes.values())
    while total > numbers:
        name = min((name for name in cuts if cuts[name] is not None), key=lambda name: _cost(cuts[name]))
        cut = cuts[name]
        assert cut is not None  # since some bond is above 1
        total += cut.shape.numbers - shapes[name].numbers
        shapes[name] = cut.shape
        cuts[name] = _cheapest(cut.shape, squares[name])
    return {name: replace(adapter, rank=shape.ranks[1:-1]) for name, shape in shapes.items()}


class _Cut(NamedTuple):
    cost: float
    shape: OperatorShape


def _cost(cut: _Cut | None) -> float:
    assert cut is not None
    return cut.cost


def _discarded_squares(matrix: Tensor, shape: OperatorShape) -> list[Tensor]:
    """Return ε_k² of each bond at each rank from 0 on."""
    values = RankErrors(shape.interleaved(matrix.to(torch.float64)), shape.train).values()
    return [torch.cat((value.square().flip(0).cumsum(0).flip(0), value.new_zeros(1))).cpu() for value in values]


def _cheapest(shape: OperatorShape, squares: list[Tensor]) -> _Cut | None:
    """Return the cheapest cut of one bond by 1, None where all are 1."""
    ranks = shape.ranks[1:-1]
    before = _sum_of_squares(ranks, squares)
    cuts = []
    for bond, rank in enumerate(ranks):
        if rank > 1:
            smaller = replace(shape, rank=(*ranks[:bond], rank - 1, *ranks[bond + 1 :]))
            cuts.append(_Cut(_sum_of_squares(smaller.ranks[1:-1], squares) - before, smaller))
    return min(cuts, key=_cost, default=None)


def _sum_of_squares(ranks: tuple[int, ...], squares: list[Tensor]) -> float:
    return sum(float(square[rank]) for rank, square in zip(ranks, squares, strict=True))
