"""Random numbers that have nothing in common: each purpose has a generator of its own, made of a seed."""

from __future__ import annotations

import enum
from typing import final

import numpy as np
import torch


def generator_of(seed: int, *key: int) -> torch.Generator:
    """Return a generator on the CPU that depends on the seed and the key alone, such as a step's number.

    What is drawn at a step then needs no state but the step's number. The hash is numpy's ``SeedSequence``.
    """
    (word,) = np.random.SeedSequence((seed, *key)).generate_state(1)
    return torch.Generator().manual_seed(int(word))


@final
class Stream(enum.IntEnum):
    """What a problem draws numbers for. A start from those that made the data would lie in a special position."""

    DATA = 0
    MEASUREMENT = 1
    NOISE = 2
    START = 3


def generator_of_stream(seed: int, stream: Stream) -> torch.Generator:
    """Return a generator on the CPU for each seed and stream, seeded by more bits of the hash."""
    state = np.random.SeedSequence((seed, stream)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
