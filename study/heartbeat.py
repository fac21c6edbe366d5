"""How far a run is, told by the process that makes it to the one that shows the progress."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final, final

HEARTBEAT: Final = "progress.txt"
SECONDS: Final = 1.0  # from one beat to the next


@final
class Heartbeat:
    """Writes the share of a run's steps that are made to its folder, at most once a second.

    Args:
        folder: of the run; None writes nothing.
        steps: of the whole run.
    """

    def __init__(self, folder: Path | None, steps: int) -> None:
        self._folder = folder
        self._steps = steps
        self._last = time.monotonic()

    def beat(self, step: int) -> None:
        """Tell that so many steps are made."""
        now = time.monotonic()
        if self._folder is not None and now - self._last > SECONDS:
            self._last = now
            (self._folder / HEARTBEAT).write_text(f"{step} {self._steps}", encoding="ascii")


def stop_heartbeat(folder: Path) -> None:
    """Remove what a run that has ended has told."""
    (folder / HEARTBEAT).unlink(missing_ok=True)


def shares(runs: Path) -> dict[str, float]:
    """Return for each run under way, by the name of its folder, the share of its steps that are made."""
    found = {}
    for path in runs.glob(f"*/{HEARTBEAT}"):
        with contextlib.suppress(OSError, ValueError):  # being written just now, or gone
            step, steps = path.read_text(encoding="ascii").split()
            found[path.parent.name] = int(step) / int(steps)
    return found
