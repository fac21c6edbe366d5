"""How the ranks of one weight rise: a path of ranks, each above the one before, and the error along it.

The squared tails of the singular values of the unfoldings at all bonds sum up to a bound on the squared error of the
best train; but bonds cut away some of the same, so that the sum is up to as many times too large as there are bonds.
Two paths are therefore tried:

- by the bonds: each time the bond rises whose next singular values take most off the sum for each degree of freedom,
  with its neighbours where frames would be wider than tall. It finds ranks that are exact.
- by one rank: from each rank to the next all bonds rise, in the order of what they take off the sum.

TT-SVD is run at a few points of both; between them the sum is scaled by what it was found to be too large. The path
with the smaller errors is taken. Along it the lower convex hull of the error counts, so that what a step is worth never
rises, and a weight that needs some ranks together is not passed over.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Self, final

from torch import Tensor

from ..manifolds import InputMetric, RankErrors, TrainShape
from ._candidates import Candidate, padded_size
from ._specification import Specification

Ranks = tuple[int, ...]

# Ranks grow one by one up to this one, and by its inverse part of themselves from there.
_STEP: Final = 32
# Where TT-SVD is run, in degrees of freedom relative to the entries of the matrix.
_LOOKS: Final = (0.05, 0.1, 0.2, 0.4)
# A squared relative error that counts as none.
_NONE: Final = 1e-14


@final
@dataclass
class Path:
    """The path of one weight, and how far its ranks have risen.

    Attributes:
        candidate: the weight.
        points: the ranks of all bonds, one for each place on the path.
        freedoms: their degrees of freedom.
        slopes: what the step from each place takes off the squared error for each degree of freedom, on the hull.
        place: where the ranks are.
    """

    candidate: Candidate
    points: Sequence[Ranks]
    freedoms: Sequence[int]
    slopes: Sequence[float]
    place: int = 0

    @classmethod
    def of(cls, candidate: Candidate, spec: Specification, metric: InputMetric | None) -> Self:
        """Return the path of a weight, at its beginning; errors are in the norm of the metric if there is one."""
        shape, spectrum = candidate.manifold(spec).shape, spec.spectrum
        metric = None if metric is None else metric.padded(padded_size(shape, metric))
        of_ranks = RankErrors(candidate.padded_matrix(shape), shape, metric)
        tails = [_tails(values) for values in of_ranks.values()]
        paths = [_by_bonds(shape, tails)]
        if len(tails) > 1:  # with one mode a side there is one path, and its errors are the tails
            paths.append(_by_one_rank(shape, tails))
        looks = [part * shape.rows * shape.columns for part in _LOOKS]
        exact = next(ranks for ranks in paths[0] if _sum_of(tails, ranks) <= _NONE or ranks == paths[0][-1])
        if exact != paths[0][-1]:  # where both paths end there is nothing to see
            looks = sorted([*looks, replace(shape, rank=exact).degrees_of_freedom()])
        found, modes = [], shape.row_modes + shape.column_modes
        for points in paths:
            free = [_entries(modes, ranks) for ranks in points]
            found.append((points, free, *_errors(of_ranks, points, free, tails, looks)))
        points, free, errors, _ = min(found, key=lambda path: path[3])
        # What a spectrum changes in them depends on the rank at the centre alone.
        center, changes = len(shape.row_modes) - 1, dict[int, int]()
        for ranks, entries in zip(points, free, strict=True):
            if ranks[center] not in changes:
                changes[ranks[center]] = spectrum.degrees_of_freedom(replace(shape, rank=ranks)) - entries
        freedoms = [entries + changes[ranks[center]] for ranks, entries in zip(points, free, strict=True)]
        return cls(candidate, points, freedoms, _hull_slopes(free, errors))

    @property
    def ranks(self) -> Ranks:
        """The ranks of all bonds."""
        return self.points[self.place]

    @property
    def freedom(self) -> int:
        """Their degrees of freedom."""
        return self.freedoms[self.place]

    @property
    def worth(self) -> float:
        """What the next step takes off for each degree of freedom, 0 at the end."""
        return self.slopes[self.place] if self.place < len(self.slopes) else 0.0

    @property
    def cost(self) -> int:
        """Degrees of freedom of the next step."""
        return self.freedoms[self.place + 1] - self.freedom

    def rise(self) -> None:
        """Take the next step."""
        self.place += 1


def _tails(values: Tensor) -> list[float]:
    """Return the squared error of keeping 0, 1, … of some singular values, relative to all of them."""
    squares = values.square().tolist()
    total = sum(squares) or 1.0
    tails = [0.0]
    for square in reversed(squares):
        tails.append(tails[-1] + square / total)
    return tails[::-1]


def _sum_of(tails: Sequence[Sequence[float]], ranks: Ranks) -> float:
    return sum(tail[rank] for tail, rank in zip(tails, ranks, strict=True))


def _by_bonds(shape: TrainShape, tails: Sequence[Sequence[float]]) -> list[Ranks]:
    points = [(1,) * len(tails)]
    full = tuple(len(tail) - 1 for tail in tails)
    while raised := _best_step(shape, tails, points[-1], full):
        points.append(raised)
    return points


def _by_one_rank(shape: TrainShape, tails: Sequence[Sequence[float]]) -> list[Ranks]:
    points = [(1,) * len(tails)]
    rank, largest = 1, max(map(len, tails)) - 1
    while rank < largest:
        rank = min(rank + max(1, rank // _STEP), largest)
        goal = replace(shape, rank=rank).ranks[1:-1]
        while raised := _best_step(shape, tails, points[-1], goal):
            points.append(raised)
    return points


def _best_step(shape: TrainShape, tails: Sequence[Sequence[float]], ranks: Ranks, most: Ranks) -> Ranks | None:
    """Return ranks with that bond raised, up to a goal, which takes most off the sum for what it costs."""
    modes = shape.row_modes + shape.column_modes
    cost, error = _entries(modes, ranks), _sum_of(tails, ranks)
    steps = [_raised(modes, ranks, bond, most[bond]) for bond in range(len(ranks)) if ranks[bond] < most[bond]]
    worths = [(error - _sum_of(tails, raised)) / (_entries(modes, raised) - cost) for raised in steps]
    return steps[worths.index(max(worths))] if steps else None


def _raised(modes: Sequence[int], ranks: Ranks, bond: int, most: int) -> Ranks:
    """Return ranks with one bond raised, and those that frames need to be no wider than tall."""
    raised = list(ranks)
    raised[bond] = min(raised[bond] + max(1, raised[bond] // _STEP), most)
    for k in range(bond, 0, -1):
        raised[k - 1] = max(raised[k - 1], -(-raised[k] // modes[k]))
    for k in range(bond, len(ranks) - 1):
        raised[k + 1] = max(raised[k + 1], -(-raised[k] // modes[k + 1]))
    return tuple(raised)


def _errors(
    of_ranks: RankErrors,
    points: Sequence[Ranks],
    free: Sequence[int],
    tails: Sequence[Sequence[float]],
    looks: Sequence[float],
) -> tuple[list[float], float]:
    """Return the squared errors along a path, and the sum of the logarithms of those that were looked at."""
    sums = [_sum_of(tails, ranks) for ranks in points]
    if len(tails) == 1:
        return sums, 0.0
    scales, logarithms, last = [1.0] * len(points), [], 0
    for look in looks:
        place = min(bisect_left(free, look), len(points) - 1)
        error = of_ranks.of_start(points[place]) ** 2
        logarithms.append(math.log(max(error, _NONE)))
        scale = min(1.0, error / sums[place]) if sums[place] > _NONE else scales[last]
        first = scales[last] if last else scale
        for k in range(last, place + 1):
            scales[k] = first + (scale - first) * (k - last) / max(1, place - last)
        last = max(last, place)
    scales[last:] = [scales[last]] * (len(points) - last)
    return [scale * total for scale, total in zip(scales, sums, strict=True)], sum(logarithms)


def _hull_slopes(costs: Sequence[int], errors: Sequence[float]) -> list[float]:
    """Return for each step the slope, made positive, of the lower convex hull of errors over costs."""
    hull: list[int] = []
    for k in range(len(costs)):
        while len(hull) > 1 and _slope(costs, errors, hull[-1], k) >= _slope(costs, errors, hull[-2], hull[-1]):
            hull.pop()
        hull.append(k)
    slopes = []
    for first, second in pairwise(hull):
        slopes += [_slope(costs, errors, first, second)] * (second - first)
    return slopes


def _slope(costs: Sequence[int], errors: Sequence[float], first: int, second: int) -> float:
    return (errors[first] - errors[second]) / max(1, costs[second] - costs[first])


def _entries(modes: Sequence[int], ranks: Ranks) -> int:
    """Return the degrees of freedom with a free spectrum, which grow with every rank."""
    bonds = zip(modes, pairwise((1, *ranks, 1)), strict=True)
    return sum(before * mode * after for mode, (before, after) in bonds) - sum(rank**2 for rank in ranks)
