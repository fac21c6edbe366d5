"""Every adapter, with what is known of it: the shared tests of test_adapters.py run over these rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sttp.adapters import Adapter, LoRA, Offset, PiSSA, STTPAdapter, SVDPAdapter, Weights

# The weight that counts are given for.
ROWS, COLUMNS = 12, 8


@dataclass(frozen=True)
class Row:
    """An adapter of a 12 x 8 weight.

    ``stored`` and ``dimension`` by hand from its published counts; ``still`` the names of the parameters whose
    gradient vanishes at the start; ``additive`` whether several on one weight add up.
    """

    name: str
    adapter: Adapter
    stored: int
    dimension: int
    still: Callable[[str], bool] = lambda name: False
    additive: bool = True


ROWS_OF_ADAPTERS = [
    # r(o+i) and, for LoRA, r(o+i−r).
    Row("lora", LoRA(2), 40, 36, still=lambda name: name.endswith("A")),
    Row("lora, rank-stabilized", LoRA(3, alpha=6, rank_stabilized=True), 60, 51, still=lambda name: name.endswith("A")),
    Row("pissa", PiSSA(2), 40, 36),
    # Frames of 12 x 2 and 8 x 2, and two values: the dimension of the matrices of rank 2.
    Row("svdp, zero", SVDPAdapter(2), 42, 36, still=lambda name: "coordinates" in name),
    Row("svdp, offset", SVDPAdapter(2, start=Offset()), 42, 36),
    Row("svdp, weights", SVDPAdapter(2, start=Weights()), 42, 36),
    # Modes (2, 2, 3) x (2, 2, 2), all ranks 2: frames 2x2, 4x2, 6x2 | 4x2, 4x2, 2x2 and two values. Away from the
    # centre a frame of d x 2 counts 2(d−2), at the centre 2d−3.
    Row("sttp, zero", STTPAdapter(2), 46, 24, still=lambda name: "coordinates" in name),
    Row("sttp, offset", STTPAdapter(2, start=Offset()), 46, 24),
    Row("sttp, weights", STTPAdapter(2, start=Weights()), 46, 24),
]
