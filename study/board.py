"""TensorBoard's event files of a run, where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from torch import Tensor

from . import processes
from .case import Run
from .result import Look
from .surroundings import Surroundings

# A scalar is read from the device and written once in so many steps.
STEPS_A_POINT: Final = 20


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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
