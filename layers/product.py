"""Which product with a weight costs less: with W, or with its factors one after another."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from opt_einsum import contract_path

Product = Literal["auto", "dense", "factors"]

# Positions (batch times output pixels) that a plan expects where a layer does not say: a batch of 64 small images. The
# more there are, the less counts what forming W costs.
EXPECTED_POSITIONS: Final = 64 * 64


@lru_cache(maxsize=4096)
def cheapest_product(
    rows: int, columns: int, rank: int, groups: int = 1, positions: int = EXPECTED_POSITIONS
) -> Literal["dense", "factors"]:
    """Return the product with fewer operations, counted for both orders of x V diag(s) Uᵀ (Obukhov et al., Sec. 6).

    Args:
        rows: output channels of all groups.
        columns: input channels of one group times the size of the filter.
        rank: number of singular values.
        groups: groups of a convolution, each of which has V applied to its own channels.
        positions: number of vectors that the weight is applied to.
    """
    operands = (positions, groups, columns), (rank, columns), (groups, rows // groups, rank)
    path, _ = contract_path("xgi,ri,gor->xgo", *operands, shapes=True, optimize="optimal")
    return "dense" if set(path[0]) == {1, 2} else "factors"
