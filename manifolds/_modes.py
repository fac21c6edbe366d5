"""How a dimension is split into the modes of a train: prime factors, smooth ones after padding, or balanced ones."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from ._require import require_integer

# A dimension with no prime factor above this one is left as it is: its modes are small enough.
SMOOTH: Final = 7
# How much a dimension may grow by padding, relative to itself.
PADDING: Final = 0.01
# The size that balanced modes come near to: that of the tensorized layers of Novikov et al. 2015, Sec. 6.
BALANCED: Final = 8


def prime_modes(channels: int, filter_size: int = 1) -> tuple[int, ...]:
    """Return the paper's modes of a dimension ``channels · filter_size``.

    These are the prime factors of the channels, ascending and with repetition, then one mode for the whole filter
    where it has more than one entry; a dimension of 1 has the single mode 1.

    Raises:
        TypeError: a size is not an integer.
        ValueError: a size is below 1.
    """
    require_integer("channels", channels, least=1)
    require_integer("filter_size", filter_size, least=1)
    modes = []
    divisor = 2
    while divisor * divisor <= channels:
        while channels % divisor == 0:
            modes.append(divisor)
            channels //= divisor
        divisor += 1
    modes += [size for size in (channels, filter_size) if size > 1]
    return tuple(modes) or (1,)


def smooth_modes(channels: int, filter_size: int = 1, rank: int = 64) -> tuple[int, ...]:
    """Return the prime modes of a dimension, or of one up to 1 % larger where it has prime factors above 7.

    Of all these dimensions it is the one with the fewest degrees of freedom on its side of a train, the smallest of
    several: 30522 = 2·3·5087 becomes 30720 = 2¹¹·3·5. The surplus is cut off the contracted matrix (``pad=True``).

    Args:
        channels: the dimension without the filter.
        filter_size: entries of the filter, a mode of its own.
        rank: the bound on the ranks at which degrees of freedom are compared.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: one is below 1.
    """
    require_integer("rank", rank, least=1)
    modes = prime_modes(channels, filter_size)
    if max(prime_modes(channels)) <= SMOOTH:
        return modes
    largest = channels + math.floor(PADDING * channels)
    padded = (prime_modes(size, filter_size) for size in range(channels, largest + 1))
    return min(padded, key=lambda modes: (_side_freedom(modes, rank), math.prod(modes)))


def balanced_modes(channels: int, filter_size: int = 1) -> tuple[int, ...]:
    """Return modes of about equal size near 8, ascending.

    The prime factors go, the largest first, each to the mode that is the smallest so far. One above 8 stays the mode
    that it is; the filter is a mode of its own.

    Raises:
        TypeError: a size is not an integer.
        ValueError: a size is below 1.
    """
    require_integer("filter_size", filter_size, least=1)
    factors = prime_modes(channels)
    modes = [1] * min(len(factors), max(1, round(math.log(channels, BALANCED))))
    for factor in sorted(factors, reverse=True):
        smallest = modes.index(min(modes))
        modes[smallest] *= factor
    found = tuple(sorted(modes))
    if filter_size == 1:
        return found
    return (filter_size,) if found == (1,) else (*found, filter_size)


@lru_cache(maxsize=4096)
def _side_freedom(modes: tuple[int, ...], rank: int) -> int:
    """Return the degrees of freedom Σ R_{k−1} q_k R_k − Σ R_k² of one side, whose last bond is the centre."""
    ranks = [1]
    for mode in modes:
        ranks.append(min(rank, ranks[-1] * mode))
    return sum(ranks[k] * mode * ranks[k + 1] - ranks[k + 1] ** 2 for k, mode in enumerate(modes))
