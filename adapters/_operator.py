"""Matrix product operators: trains of cores that have a row and a column mode each, with the norm in the middle one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..manifolds import RankErrors, TrainShape, prime_modes, smooth_modes

# How many cores the source takes.
NUMBER: Final = 5


@final
@dataclass(frozen=True)
class OperatorShape:
    """The shape of W[i_1 … i_n, j_1 … j_n] = T_1[i_1, j_1] ⋯ T_n[i_n, j_n].

    Interleaved, W is a chain of modes q_k = i_k j_k, whose bonds are those of a :class:`~sttp.manifolds.TrainShape`.

    Attributes:
        row_modes: i_1 … i_n, whose product is ``rows`` or more; what is more is cut off.
        column_modes: j_1 … j_n, likewise.
        rank: bound on the bonds, one or one for each; None for full ones.
        rows: of W.
        columns: of W.
    """

    row_modes: tuple[int, ...]
    column_modes: tuple[int, ...]
    rank: int | tuple[int, ...] | None
    rows: int
    columns: int

    @cached_property
    def train(self) -> TrainShape:
        """The chain of the modes q, divided before the middle core."""
        modes = tuple(row * column for row, column in zip(self.row_modes, self.column_modes, strict=True))
        return TrainShape(
            modes[: self.center], modes[self.center :], math.prod(modes) if self.rank is None else self.rank
        )

    @property
    def center(self) -> int:
        """Index of the middle core, which carries the norm."""
        return len(self.row_modes) // 2

    @property
    def modes(self) -> tuple[int, ...]:
        """The q_k."""
        return self.train.row_modes + self.train.column_modes

    @property
    def ranks(self) -> tuple[int, ...]:
        """R_0 … R_n, with R_0 = R_n = 1."""
        return self.train.ranks

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers R_{k−1} q_k R_k of each core."""
        return tuple(self.ranks[k] * mode * self.ranks[k + 1] for k, mode in enumerate(self.modes))

    @property
    def numbers(self) -> int:
        """Numbers of all cores."""
        return sum(self.sizes)

    def interleaved(self, matrix: Tensor) -> Tensor:
        """Return W with zeros for what is cut off, as a matrix of the modes before the middle core by the others."""
        padding = math.prod(self.column_modes) - self.columns, math.prod(self.row_modes) - self.rows
        tensor = pad(matrix, (0, padding[0], 0, padding[1])).reshape(*self.row_modes, *self.column_modes)
        number = len(self.row_modes)
        order = [axis for k in range(number) for axis in (k, number + k)]
        return tensor.permute(order).reshape(self.train.rows, self.train.columns)

    def matrix(self, interleaved: Tensor) -> Tensor:
        """Undo :meth:`interleaved`."""
        number = len(self.row_modes)
        tensor = interleaved.reshape(
            [size for pair in zip(self.row_modes, self.column_modes, strict=True) for size in pair]
        )
        order = [*range(0, 2 * number, 2), *range(1, 2 * number, 2)]
        matrix = tensor.permute(order).reshape(math.prod(self.row_modes), math.prod(self.column_modes))
        return matrix[: self.rows, : self.columns]

    def cores(self, matrix: Tensor) -> list[Tensor]:
        """Return cores ``(R_{k−1}, q_k, R_k)`` by SVDs from both ends to the middle: all others are orthogonal.

        Those before the middle core, as matrices ``(R_{k−1} q_k, R_k)``, are frames, and so are those behind it as
        matrices ``(q_k R_k, R_{k−1})``.
        """
        rest, last = self.interleaved(matrix), len(self.modes) - 1
        before: list[Tensor] = []
        behind: list[Tensor] = []
        for k in range(self.center):
            left, values, right = torch.linalg.svd(rest.reshape(self.ranks[k] * self.modes[k], -1), full_matrices=False)
            kept = self.ranks[k + 1]
            before.append(left[:, :kept].reshape(self.ranks[k], self.modes[k], kept))
            rest = values[:kept, None] * right[:kept]
        for k in range(last, self.center, -1):
            left, values, right = torch.linalg.svd(
                rest.reshape(-1, self.modes[k] * self.ranks[k + 1]), full_matrices=False
            )
            kept = self.ranks[k]
            behind.insert(0, right[:kept].reshape(kept, self.modes[k], self.ranks[k + 1]))
            rest = left[:, :kept] * values[:kept]
        middle = rest.reshape(self.ranks[self.center], self.modes[self.center], self.ranks[self.center + 1])
        return [*before, middle, *behind]

    def contracted(self, cores: Sequence[Tensor]) -> Tensor:
        """Return W of shape ``(rows, columns)``."""
        product = cores[0].flatten(0, 1)
        for core in cores[1:]:
            product = (product @ core.flatten(1)).reshape(-1, core.shape[2])
        return self.matrix(product)

    def truncation(self, matrix: Tensor) -> Truncation:
        """Return what the bonds leave of a matrix, computed in float64."""
        exact = matrix.detach().to(torch.float64)
        values = RankErrors(self.interleaved(exact), self.train).values()
        discarded = [
            float(torch.linalg.vector_norm(value[rank:])) for value, rank in zip(values, self.ranks[1:-1], strict=True)
        ]
        error = torch.linalg.matrix_norm(exact - self.contracted(self.cores(exact)))
        return Truncation(self.ranks, tuple(discarded), float(error), float(torch.linalg.matrix_norm(exact)))


@final
@dataclass(frozen=True)
class Truncation:
    """What the bonds of an operator leave of a matrix (Liu et al., ACL 2021, Theorem 1): error ≤ (Σ ε_k²)^½.

    Attributes:
        ranks: R_0 … R_n.
        discarded: ε_k of each bond, the norm of the singular values of unfolding k behind the first R_k, to 2e-8 of the
            largest.
        error: ‖W − operator‖_F.
        norm: ‖W‖_F.
    """

    ranks: tuple[int, ...]
    discarded: tuple[float, ...]
    error: float
    norm: float

    @property
    def least(self) -> float:
        """max ε_k: no operator of these bonds is nearer to W as it is padded, or to W where it is not."""
        return max(self.discarded, default=0.0)

    @property
    def bound(self) -> float:
        """(Σ ε_k²)^½."""
        return math.hypot(*self.discarded)


def operator_modes(rows: int, columns: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return i_1 … i_n and j_1 … j_n of about equal size, n = 5 where there are so many prime factors.

    Prime factors go, the largest first, to the smallest mode. The smallest modes then stand at the ends and the largest
    in the middle, which gives the source's modes of 768 x 768, 768 x 3072 and 30000 x 128. Sizes with prime factors
    above 7 are padded by up to 1 %, as its 30522 to 30720.
    """
    factors = [prime_modes(math.prod(smooth_modes(size))) for size in (rows, columns)]
    number = min(NUMBER, max(2, *map(len, factors)))
    inward = [place for k in range((number + 1) // 2) for place in dict.fromkeys((k, number - 1 - k))]
    places = inward, [inward[1], inward[0], *inward[2:]]
    found = []
    for primes, order in zip(factors, places, strict=True):
        modes = [1] * number
        for prime in reversed(primes):
            modes[modes.index(min(modes))] *= prime
        found.append(tuple(size for _, size in sorted(zip(order, sorted(modes), strict=True))))
    return found[0], found[1]
