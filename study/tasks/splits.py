"""A user's own data in three splits that are read anew whenever a batch needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Self, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from ...manifolds import described
from ..data import Examples, read_examples
from ..data.folder import SPLIT_SEED, TEST_SHARE
from ..data.image_data import checksum_of
from ..data.own import VALIDATION_SHARE
from .task import Split

# Examples that stand for all where a checksum of all would mean to read them all.
FEW: Final = 32


@final
class ReadAnew:
    """Splits whose examples are read from their data sets each time, which may change them at random.

    They are used as :class:`~sttp.study.data.OwnData` is; what a batch draws depends on the seed of the run and on the
    position of the batch alone.

    Args:
        train: a data set with a length, of pairs (input, target).
        validation, test: alike; None for a tenth and a fifth of ``train``, drawn at random.
        device: where examples go.

    Raises:
        TypeError: a split has no length, or no examples by number.
    """

    def __init__(self, train: Any, validation: Any, test: Any, device: str = "cpu") -> None:
        given = {"train": train, "validation": validation, "test": test}
        for name, source in given.items():
            if source is not None and not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
                raise TypeError(
                    f"{name} must be a torch data set with a length, or a list, of pairs where in_memory is False, got "
                    f"{described(source)}"
                )
        self._device = device
        self._sources: Mapping[str, Any] = _divided(given)
        self.sizes = tuple(len(self._sources[name]) for name in given)
        first = self._read("train", [0], 0)
        self.classes = None  # it would take a reading of all examples
        self.is_classified = not first.targets.is_floating_point()
        self.input_shape = tuple(first.inputs.shape[1:])

    def batch(self, indices: Tensor, seed: int, position: int) -> Examples:
        """Return training examples, read now."""
        state = np.random.SeedSequence((seed, position)).generate_state(1)
        return self._read("train", indices.tolist(), int(state[0]))

    def pieces(self, split: Split, size: int) -> Iterator[Examples]:
        """Yield all examples of a split, some at a time."""
        count = len(self._sources[split])
        return (self._read(split, range(k, min(k + size, count)), k) for k in range(0, count, size))

    def to(self, device: str) -> Self:
        """Return the splits with batches on a device."""
        sources = self._sources
        return type(self)(sources["train"], sources["validation"], sources["test"], device)

    @cached_property
    def checksum(self) -> str:
        """Eight hexadecimal digits, the CRC-32 of the sizes and of some examples of each split."""
        found = self._checksum_of_some()
        if found != self._checksum_of_some():
            raise ValueError(
                "train, validation and test must draw from the global generators of torch, NumPy or Python, which are "
                "seeded, got other examples at the same seed; have them draw from these"
            )
        return found

    def _checksum_of_some(self) -> str:
        some = [
            self._read(name, np.linspace(0, len(source) - 1, min(FEW, len(source))).astype(int).tolist(), 0)
            for name, source in self._sources.items()
        ]
        return checksum_of(list(self.sizes), (tensor for examples in some for tensor in examples))

    def _read(self, name: str, indices: Any, seed: int) -> Examples:
        examples = read_examples(name, Subset(self._sources[name], list(indices)), seed)
        return Examples(*(tensor.to(self._device) for tensor in examples))


def _divided(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return three data sets, of which those that are missing are parts of the first."""
    order = torch.randperm(len(given["train"]), generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    found = dict(given)
    for name, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if found[name] is None:
            count = max(1, round(share * len(order)))
            found[name], order = Subset(given["train"], sorted(order[:count])), order[count:]
    if len(order) < len(given["train"]):
        found["train"] = Subset(given["train"], sorted(order))
    return found
