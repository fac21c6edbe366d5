"""What a run leaves in its folder on its way: checkpoints, TensorBoard's event files, and images that it generates."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from ..layers import write_atomically
from . import processes
from .case import Run, Trial
from .result import Look
from .surroundings import Surroundings

CHECKPOINT: Final = "checkpoint.pt"
SAMPLES: Final = "samples.png"
# A scalar is read from the device and written once in so many steps.
STEPS_A_POINT: Final = 20
_DIGEST: Final = hashlib.sha256


def write_checkpoint(folder: Path, environment: dict[str, str], content: dict[str, Any]) -> None:
    """Write a checkpoint in place of the last one, whole or not at all, after its own SHA-256."""
    buffer = io.BytesIO()
    torch.save({"environment": environment, "content": content}, buffer)
    data = buffer.getvalue()
    write_atomically(folder / CHECKPOINT, lambda path: path.write_bytes(_DIGEST(data).digest() + data))


def read_checkpoint(folder: Path, environment: dict[str, str]) -> dict[str, Any] | None:
    """Return what the last checkpoint holds; None where there is none to go on from.

    One from another environment is left alone: going on from it would end in digits that neither would reach. So is
    one that is damaged, of which a warning tells. The next checkpoint takes the place of either.
    """
    path = folder / CHECKPOINT
    try:
        data = path.read_bytes()
    except OSError:
        return None
    size = _DIGEST().digest_size
    if _DIGEST(data[size:]).digest() != data[:size]:
        warnings.warn(
            f"checkpoint {str(path)!r} is damaged, so that its run begins anew: the disk may be failing", stacklevel=2
        )
        return None
    try:
        saved = torch.load(io.BytesIO(data[size:]), map_location="cpu", weights_only=True)
        found = saved["environment"] == environment
    except (RuntimeError, LookupError, TypeError, EOFError, pickle.UnpicklingError):
        return None  # whole, and of another version
    return saved["content"] if found else None


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a run that has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


@final
class Board:
    """Writes scalars and sample grids with a ``SummaryWriter``, or nothing where there is none."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def scalars(self, step: int, values: Callable[[], dict[str, Tensor]]) -> None:
        """Write losses after a number of steps."""
        if self._writer is not None and step % STEPS_A_POINT == 0:
            for name, value in values().items():
                self._writer.add_scalar(f"training/{name}", value.item(), step)

    def look(self, look: Look, samples: Callable[[], Tensor | None]) -> None:
        """Write what a look has found, and a grid of samples where the trial makes any."""
        if self._writer is None:
            return
        for name, value in look.measures.items():
            if value is not None:
                self._writer.add_scalar(f"looks/{name}", value, look.step)
        images = samples()
        if images is not None:
            self._writer.add_images("samples", images.cpu(), look.step)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._writer.close()


def open_board(run: Run, surroundings: Surroundings, folder: Path | None) -> Board:
    """Return the board of a run; one that writes nothing where none is asked for.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """
    if not surroundings.tensorboard or folder is None or processes.rank() != 0:
        return Board()
    from torch.utils.tensorboard import SummaryWriter  # an extra

    return Board(SummaryWriter(str(folder.parent.parent / "tensorboard" / run.identifier)))


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
