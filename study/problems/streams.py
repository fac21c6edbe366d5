"""Random numbers that have nothing in common: those of data, of measurements, of noise and of starts."""

from __future__ import annotations

import enum
from typing import final

import numpy as np
import torch


@final
class Stream(enum.IntEnum):
    """What numbers are drawn for. A start from the numbers that made the data would lie in a special position."""

    DATA = 0
    MEASUREMENT = 1
    NOISE = 2
    START = 3


def generator(seed: int, stream: Stream) -> torch.Generator:
    """Return a generator of its own for each seed and stream (the hash is numpy's ``SeedSequence``)."""
    state = np.random.SeedSequence((seed, stream)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
