"""The bundled scans of digits, in the split of the task `digits`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, final

import numpy as np
import torch

from ..tasks.digits import split_indices
from .image_data import ImageData, Images
from .resizing import resize_data
from .source import Archive, DataSource, Found

SHADES: Final = 16


@final
@dataclass(frozen=True)
class BundledDigits(DataSource):
    """1,797 scans of 8×8 pixels (UCI, Alpaydin and Kaynak 1998) as scikit-learn bundles them.

    Training has the 960 training and then the 418 validation scans of the task `digits`, test its 419 test scans.
    """

    bundled: ClassVar[bool] = True
    name: str = "digits"
    description: str = "1,797 scans of handwritten digits, 8×8 pixels in grey, ten classes; bundled"
    classes: tuple[str, ...] = tuple("0123456789")
    image_shape: tuple[int, int, int] = (1, 8, 8)
    archives: tuple[Archive, ...] = ()

    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return what reads the scans; there are no files."""
        return Found((), lambda: resize_data(self._read(), size))

    def _read(self) -> ImageData:
        from sklearn.datasets import load_digits  # of the extra `study`

        data = load_digits()
        pixels = np.rint(data.images * (255 / SHADES)).astype(np.uint8)
        images, labels = torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(data.target).long()
        splits = split_indices(data.target)
        training = np.concatenate([splits["training"], splits["validation"]])
        training_images, test_images = (
            Images(images[indices], labels[indices]) for indices in (training, splits["test"])
        )
        return ImageData(self.name, self.classes, training_images, test_images)


DIGITS_SOURCE: Final = BundledDigits()
