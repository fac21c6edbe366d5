"""Grids of generated images as PNG files."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from ..layers import write_atomically
from .trial import Trial

SAMPLES: Final = "samples.png"


def grid(images: Tensor, gap: int = 1) -> np.ndarray:
    """Return images ``(n, C, H, W)`` in [0, 1] side by side as one ``(height, width, 3)`` of uint8, on white."""
    pixels = (images.detach().cpu().float().clamp(0, 1) * 255).round().byte().numpy()
    count, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for index, picture in enumerate(pixels):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        colours = np.repeat(picture, 3, axis=0) if channels == 1 else picture
        canvas[top : top + height, left : left + width] = colours.transpose(1, 2, 0)
    return canvas


def write_samples(folder: Path, trial: Trial) -> None:
    """Write a grid of the trial's samples to the folder of its run, where it makes any."""
    images = trial.samples()
    if images is None:
        return
    from matplotlib import image  # which takes long to load

    buffer = io.BytesIO()
    image.imsave(buffer, grid(images), format="png")
    write_atomically(folder / SAMPLES, lambda path: path.write_bytes(buffer.getvalue()))
