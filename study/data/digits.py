"""The bundled scans of digits, and their split into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np
import torch

from .image_data import ImageData, Images
from .source import DataSource, Found

SHADES: Final = 16
# 30 batches of 32 make an epoch; validation and test share the other 837 scans.
TRAINING_SIZE: Final = 960
TEST_SIZE: Final = 419
SPLIT_SEED: Final = 0


class Scans(NamedTuple):
    """Shades of grey from 0 to 16, ``(n, 8, 8)``, and digits ``(n,)``."""

    shades: np.ndarray
    digits: np.ndarray


def read_scans() -> Scans:
    """Return all scans in the order in which scikit-learn has them."""
    # Here, because scikit-learn is of the extra `study`: what only counts parameters goes without it.
    from sklearn.datasets import load_digits

    data = load_digits()
    return Scans(data.images, data.target)


def split_indices(digits: np.ndarray) -> dict[str, np.ndarray]:
    """Return the indices of `training`, `validation` and `test`, each with its share of every class."""
    from sklearn.model_selection import train_test_split

    training, rest = train_test_split(
        np.arange(len(digits)), train_size=TRAINING_SIZE, stratify=digits, random_state=SPLIT_SEED
    )
    validation, test = train_test_split(rest, test_size=TEST_SIZE, stratify=digits[rest], random_state=SPLIT_SEED)
    return {"training": training, "validation": validation, "test": test}


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
        shades, digits = read_scans()
        pixels = np.rint(shades * (255 / SHADES)).astype(np.uint8)
        images, labels = torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(digits).long()
        splits = split_indices(digits)
        training = np.concatenate([splits["training"], splits["validation"]])
        training_images, test_images = (
            Images(images[indices], labels[indices]) for indices in (training, splits["test"])
        )
        return ImageData("digits", self.classes, training_images, test_images)
