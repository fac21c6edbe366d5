"""Random numbers that have nothing in common: each purpose has a generator of its own, made of a seed."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch


def generator_of(seed: int, *key: int) -> torch.Generator:
    """Return a generator on the CPU that depends on the seed and the key alone, such as a step's number.

    What is drawn at a step then needs no state but the step's number. The hash is numpy's ``SeedSequence``.
    """
    (word,) = np.random.SeedSequence((seed, *key)).generate_state(1)
    return torch.Generator().manual_seed(int(word))


@contextmanager
def seeded(seed: int, cards: Sequence[int] = ()) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python, from which users' code draws, and put them back."""
    arrays, numbers = np.random.get_state(), random.getstate()  # noqa: NPY002 the global one is what users draw from
    with torch.random.fork_rng(list(cards)):
        seed_all(seed)
        try:
            yield
        finally:
            np.random.set_state(arrays)  # noqa: NPY002
            random.setstate(numbers)


def seed_all(seed: int) -> None:
    """Seed the global generators of torch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def states(cards: Sequence[int] = ()) -> dict[str, Any]:
    """Return the states of the global generators, of GPUs among them, as tensors and plain values."""
    state: Any = np.random.get_state()  # noqa: NPY002
    kind, keys, *rest = state
    torchs = [torch.get_rng_state(), *(torch.cuda.get_rng_state(card) for card in cards)]
    return {
        "torch": torchs,
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_states(saved: dict[str, Any], cards: Sequence[int] = ()) -> None:
    """Put the global generators in the states that :func:`states` returned."""
    first, *others = saved["torch"]
    torch.set_rng_state(first)
    for card, state in zip(cards, others, strict=True):
        torch.cuda.set_rng_state(state, card)
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(saved["python"])


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
