"""The bundled scans of digits, and their split into training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from .image_data import ImageData, Images
from .source import DataSource, Found

SHADES: Final = 16
# 30 batches of 32 make an epoch; validation and test share the other 837 scans.
TRAINING_SIZE: Final = 960
TEST_SIZE: Final = 419
SPLIT_SEED: Final = 0


class Examples(NamedTuple):
    """Images ``(n, 1, 8, 8)`` of float32 in [0, 1] and labels ``(n,)``."""

    images: Tensor
    labels: Tensor


def _read_scans() -> tuple[np.ndarray, np.ndarray]:
    """Return shades of grey from 0 to 16, ``(n, 8, 8)``, and digits ``(n,)`` as scikit-learn has them."""
    # Here, because scikit-learn is of the extra `study`: what only counts parameters goes without it.
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images, data.target


def split_indices(digits: np.ndarray) -> dict[str, np.ndarray]:
    """Return the indices of `training`, `validation` and `test`, each with its share of every class."""
    from sklearn.model_selection import train_test_split

    training, rest = train_test_split(
        np.arange(len(digits)), train_size=TRAINING_SIZE, stratify=digits, random_state=SPLIT_SEED
    )
    validation, test = train_test_split(rest, test_size=TEST_SIZE, stratify=digits[rest], random_state=SPLIT_SEED)
    return {"training": training, "validation": validation, "test": test}


@cache
def digits_splits() -> dict[str, Examples]:
    """Return the splits `training`, `validation` and `test`, loaded once a process."""
    shades, digits = _read_scans()
    images, labels = torch.from_numpy(shades).float().unsqueeze(1) / SHADES, torch.from_numpy(digits).long()
    return {name: Examples(images[indices], labels[indices]) for name, indices in split_indices(digits).items()}


def digits_batches(seed: int, batch_size: int) -> Iterator[Examples]:
    """Yield training batches, each epoch a new permutation; an incomplete batch is left out."""
    images, labels = digits_splits()["training"]
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(labels), generator=generator)
        for chosen in order.split(batch_size):
            if len(chosen) == batch_size:
                yield Examples(images[chosen], labels[chosen])


@final
@dataclass(frozen=True)
class BundledDigits(DataSource):
    """1,797 scans of 8×8 pixels (UCI, Alpaydin and Kaynak 1998) as scikit-learn bundles them.

    Training has the 960 training and then the 418 validation scans of the task `digits`, test its 419 test scans.
    """

    description: str = "1,797 scans of handwritten digits, 8×8 pixels in grey, ten classes; bundled"
    classes: tuple[str, ...] = tuple("0123456789")
    image_shape: tuple[int, int, int] = (1, 8, 8)
    bundled: bool = True

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return what reads the scans; there are no files."""
        return Found((), self._read)

    def _read(self) -> ImageData:
        shades, digits = _read_scans()
        pixels = np.rint(shades * (255 / SHADES)).astype(np.uint8)
        images, labels = torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(digits).long()
        splits = split_indices(digits)
        training = np.concatenate([splits["training"], splits["validation"]])
        training_images, test_images = (
            Images(images[indices], labels[indices]) for indices in (training, splits["test"])
        )
        return ImageData("digits", self.classes, training_images, test_images)
