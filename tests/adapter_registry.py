"""Every adapter, with what is known of it: the shared tests of test_adapters.py run over these rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import adapter_gauges as gauges

from sttp.adapters import (
    HRA,
    MPO,
    OFT,
    PSOFT,
    SODA,
    Adapter,
    AsPublished,
    Change,
    DeepLoRA,
    DoRA,
    JointLowRank,
    LoRA,
    LoRETTA,
    LoRTA,
    Offset,
    PiSSA,
    SpectralAdapter,
    StelLA,
    STTPAdapter,
    SVDPAdapter,
    TiedSTTP,
    Weights,
)
from sttp.manifolds import Householder, Riemannian

# The weight that counts are given for.
ROWS, COLUMNS = 12, 8


@dataclass(frozen=True)
class Row:
    """An adapter of a 12 x 8 weight.

    ``stored`` and ``dimension`` by hand from its published counts; ``still`` the names of the parameters whose
    gradient vanishes at the start; ``additive`` whether several on one weight add up, and
    ``one_shape`` whether all weights must have one shape, and ``one_layer`` whether it
    fits a 12 x 8 weight alone; ``gauge`` moves the parameters of its change, where they can move, and leaves W.
    """

    name: str
    adapter: Adapter
    stored: int
    dimension: int
    still: Callable[[str], bool] = lambda name: False
    additive: bool = True
    one_shape: bool = False
    one_layer: bool = False
    gauge: Callable[[Change], None] | None = None


ROWS_OF_ADAPTERS = [
    # r(o+i) and, for LoRA, r(o+i−r).
    Row("lora", LoRA(2), 40, 36, still=lambda name: name.endswith("A"), gauge=gauges.of_low_rank),
    Row(
        "lora, rank-stabilized",
        LoRA(3, alpha=6, rank_stabilized=True),
        60,
        51,
        still=lambda name: name.endswith("A"),
        gauge=gauges.of_low_rank,
    ),
    Row("pissa", PiSSA(2), 40, 36, gauge=gauges.of_low_rank),
    # Frames of 12 x 2 and 8 x 2, and two values: the dimension of the matrices of rank 2.
    Row("svdp, zero", SVDPAdapter(2), 42, 36, still=lambda name: "coordinates" in name, gauge=gauges.of_singular_pairs),
    Row("svdp, offset", SVDPAdapter(2, start=Offset()), 42, 36, gauge=gauges.of_singular_pairs),
    Row("svdp, weights", SVDPAdapter(2, start=Weights()), 42, 36, gauge=gauges.of_singular_pairs),
    # Modes (2, 2, 3) x (2, 2, 2), all ranks 2: frames 2x2, 4x2, 6x2 | 4x2, 4x2, 2x2 and two values. Away from the
    # centre a frame of d x 2 counts 2(d−2), at the centre 2d−3.
    Row("sttp, zero", STTPAdapter(2), 46, 24, still=lambda name: "coordinates" in name, gauge=gauges.of_train),
    Row("sttp, offset", STTPAdapter(2, start=Offset()), 46, 24, gauge=gauges.of_train),
    Row("sttp, weights", STTPAdapter(2, start=Weights()), 46, 24, gauge=gauges.of_train),
    # The two frames of 2 x 2 are gauge, and not stored.
    Row(
        "sttp, grassmann",
        STTPAdapter(2, frames=Riemannian(redundant=False), start=Offset()),
        38,
        24,
        gauge=gauges.of_train,
    ),
    Row(
        "sttp, embedded metric",
        STTPAdapter(2, frames=Riemannian(redundant=False, metric="embedded"), start=Offset()),
        38,
        24,
        gauge=gauges.of_train,
    ),
    # As many numbers as dimensions.
    Row("sttp, householder", STTPAdapter(2, frames=Householder(redundant=False), start=Offset()), 24, 24),
    # LoRA and a length for each row.
    Row(
        "dora",
        DoRA(2, alpha=4),
        52,
        48,
        still=lambda name: name.endswith("A"),
        additive=False,
        gauge=gauges.of_low_rank,
    ),
    # (i/b) b(b−1)/2.
    Row("oft", OFT(4), 12, 12, additive=False),
    # ri numbers; an orthogonal map of a plane, 2(i−2) + 1.
    Row("hra", HRA(2), 16, 13, additive=False, gauge=gauges.of_reflections),
    # r(r−1)/2 + 2r, and one factor less.
    Row("psoft", PSOFT(3), 9, 8, gauge=gauges.of_principal_rotation),
    Row("stella", StelLA(2), 44, 36, gauge=gauges.of_stella),
    Row(
        "stella, diagonal, as published",
        StelLA(2, diagonal=True, start=AsPublished()),
        42,
        36,
        gauge=gauges.of_diagonal_stella,
    ),
    Row("spectral, additive", SpectralAdapter(2), 40, 36, gauge=gauges.of_moved_pairs),
    Row("spectral, rotational", SpectralAdapter(2, form="rotational", block=1), 10, 4, gauge=gauges.of_rotated_pairs),
    # Σn² + min(o, i), and Σn(n−1)/2 + min(o, i).
    Row("soda", SODA(), 72, 36, additive=False),
    Row("soda, as published", SODA(offset=1e-3), 72, 36, additive=False),
    Row("soda, two turns", SODA((2, 4)), 28, 15, additive=False, one_layer=True, gauge=gauges.of_two_turns),
    # r(i + d_h + H + M + L) for one matrix in one layer, less 4r.
    Row(
        "lorta",
        LoRTA(2, heads=2, matrices=1),
        36,
        28,
        still=lambda name: "outputs" not in name,
        one_shape=True,
        gauge=gauges.of_cp_tensor,
    ),
    # Modes 2, 6 | 8 of one matrix in one layer: frames of 2 x 2, 12 x 2 | 8 x 2 and two values.
    Row(
        "tied sttp, zero",
        TiedSTTP(2, heads=2, matrices=1),
        46,
        36,
        still=lambda name: "coordinates" in name,
        one_shape=True,
        gauge=gauges.of_train,
    ),
    Row(
        "tied sttp, offset",
        TiedSTTP(2, heads=2, matrices=1, start=Offset()),
        46,
        36,
        one_shape=True,
        gauge=gauges.of_train,
    ),
    Row("joint, of one", JointLowRank(2, matrices=1), 40, 36, gauge=gauges.of_joint),
    # B has modes 12 | 2 and A 8 | 2: matrices of rank 2 in factors with a 2 x 2 one more each.
    Row("loretta", LoRETTA(2, 3), 24 + 4 + 16 + 4, 36, gauge=gauges.of_loretta),
    # B has cores 1x4x2, 2x3x2, 2x3x1 and A 1x2x2, 2x4x2, 2x3x1. As one train of modes 4 3 | 4 2 and ranks 2: frames of
    # 4x2, 6x2 | 8x2, 2x2, so 2·2 + 9 + 13 + 0 and two values.
    Row(
        "loretta, as published",
        LoRETTA(3, 2, ((4, 3), (2, 4)), start=AsPublished()),
        26 + 26,
        28,
        one_layer=True,
        gauge=gauges.of_loretta,
    ),
    Row("deep lora", DeepLoRA(2), 44, 36, gauge=gauges.of_chain),
    # r(o+i) + Lr².
    Row("deep lora, compressed", DeepLoRA(2, compressed=True), 52, 36, gauge=gauges.of_compressed_chain),
    Row("deep lora, fixed frames", DeepLoRA(2, compressed=True, gamma=0.0), 12, 4, gauge=gauges.of_chain),
    Row("deep lora, full", DeepLoRA(None), 384, 96, gauge=gauges.of_chain),
    # Modes (2, 3, 2) x (2, 2, 2), so q = 4, 6, 4: full bonds 4, 4, and cores of 16, 96, 16. A factor moves freely from
    # one core to the other.
    Row("mpo", MPO(), 32, 31, gauge=gauges.of_auxiliary_cores),
    # Bonds 3, 3: cores of 12, 54, 12. Σ R q R − Σ R².
    Row("mpo, truncated", MPO(3, train="all"), 78, 60, gauge=gauges.of_operator),
    Row("mpo, center", MPO(3, train="center"), 54, 54),
    Row("mpo, as published", MPO(3, start=AsPublished()), 24, 23, additive=False, gauge=gauges.of_auxiliary_cores),
    Row("mpo, frames", MPO(3, train="all", frames=Riemannian(redundant=False)), 78, 60, gauge=gauges.of_operator),
    # Two rotations of 4 x 4.
    Row("mpo, rotations", MPO(frames=Riemannian(redundant=False)), 32, 12),
    # 14 rows, of which two are padding; q = 8, 14 and the bond 2: the first core.
    Row("mpo, padded", MPO(2, ((2, 7), (4, 2))), 16, 16, one_layer=True),
]
