"""Counts of operations and of memory, for the plans of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Final, final

from ..manifolds import FrameShape

Blocks = tuple[tuple[int, int], ...]

# How many operations take as long as moving one float32 entry between memory and processor. An H200 has 67 TFLOP/s and
# 4.8 TB/s, two cores of a server about 0.18 TFLOP/s and 20 GB/s: 56 and 36. The lower figure is on the safe side.
BALANCE: Final = 32


@final
@dataclass(frozen=True)
class Work:
    """What matrix products cost in a forward. The backward of each costs twice as much, whichever are chosen.

    Attributes:
        operations: multiplications and additions.
        entries: entries read and written.
        largest: entries of the largest tensor that is made on the way.
    """

    operations: int = 0
    entries: int = 0
    largest: int = 0

    def __add__(self, other: Work) -> Work:
        largest = max(self.largest, other.largest)
        return Work(self.operations + other.operations, self.entries + other.entries, largest)

    @property
    def score(self) -> int:
        """Operations, and entries as the operations that take as long."""
        return self.operations + BALANCE * self.entries


# The work that is done once, and the work for each vector.
Affine = tuple[Work, Work]


def matrix_product(rows: int, inner: int, columns: int) -> Work:
    """Return the work of a product of matrices ``(rows, inner)`` and ``(inner, columns)``."""
    entries = rows * inner + inner * columns + rows * columns
    return Work(2 * rows * inner * columns, entries, rows * columns)


def contraction(frames: Sequence[FrameShape]) -> Work:
    """Return the work of contracting neighbours on one side of the centre, given from outside to the centre."""
    work = Work()
    rows = frames[0].rows if frames else 0
    for frame in frames[1:]:
        work += matrix_product(rows, frame.outer_rank, frame.mode * frame.columns)
        rows *= frame.mode
    return work


def block_product(frames: Sequence[FrameShape], start: int, stop: int, width: int) -> Affine:
    """Return the work of contracting a block of neighbours, and of multiplying one vector with it.

    Args:
        frames: of one side, from outside to the centre.
        start: first frame of the block.
        stop: the one after its last.
        width: entries of the vector at the outer end, the side's modes multiplied.
    """
    block = frames[start:stop]
    rows, columns = block[0].outer_rank * prod(frame.mode for frame in block), block[-1].columns
    for frame in frames[:start]:
        width = width // frame.rows * frame.columns
    count = width // rows
    each = Work(2 * count * rows * columns, count * (rows + columns), count * max(rows, columns))
    return contraction(block) + Work(0, rows * columns), each


def block_lookup(frames: Sequence[FrameShape], start: int, stop: int) -> Affine:
    """Return the work of contracting a block, and of multiplying the row that was looked up with its slice.

    The outermost block is a table of rows; in the others an index picks an (outer rank) × (columns) matrix.
    """
    block = frames[start:stop]
    columns = block[-1].columns
    slice_ = block[0].outer_rank * columns
    fixed = contraction(block) + Work(0, slice_ * prod(frame.mode for frame in block))
    return fixed, Work(0, columns, columns) if start == 0 else Work(2 * slice_, 3 * slice_, slice_)


def cheapest_blocks(length: int, number: int, cost: Callable[[int, int], Affine]) -> Blocks:
    """Return the blocks (start, stop) that cost least for ``number`` vectors.

    Dynamic programming over where the last block begins, since what a block costs depends on no other.
    """
    best: list[tuple[float, Blocks]] = [(0, ())]
    for stop in range(1, length + 1):
        chosen: tuple[float, Blocks] = (inf, ())
        for start in range(stop):
            fixed, each = cost(start, stop)
            score = best[start][0] + fixed.score + number * each.score
            if score < chosen[0]:
                chosen = (score, (*best[start][1], (start, stop)))
        best.append(chosen)
    return best[-1][1]
