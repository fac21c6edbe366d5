"""How far a run is, told by the process that makes it to the one that shows the progress."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final, NamedTuple, final

HEARTBEAT: Final = "progress.txt"
TEMPORARY: Final = f".{HEARTBEAT}"  # until it is whole
SECONDS: Final = 1.0  # from one beat to the next


class Shares(NamedTuple):
    """How much of a run is made, from 0 to 1: before it was last begun, and in all."""

    before: float
    now: float


@final
class Heartbeat:
    """Writes how many of a run's steps are made to its folder, whole, and at most once a second.

    Args:
        folder: of the run; None writes nothing.
        first: number of steps that were made when it was last begun.
        steps: of the whole run.
    """

    def __init__(self, folder: Path | None, first: int, steps: int) -> None:
        self._folder = folder
        self._first = first
        self._steps = steps
        self._last = time.monotonic()

    def beat(self, step: int) -> None:
        """Tell that so many steps are made."""
        now = time.monotonic()
        if self._folder is None or now - self._last <= SECONDS:
            return
        self._last = now
        # Not flushed to the disk, for which a training would wait: after a power cut no run is under way.
        temporary = self._folder / TEMPORARY
        temporary.write_text(f"{self._first} {step} {self._steps}", encoding="ascii")
        temporary.replace(self._folder / HEARTBEAT)


def stop_heartbeat(folder: Path) -> None:
    """Remove what a run that has ended has told."""
    for name in (HEARTBEAT, TEMPORARY):
        (folder / name).unlink(missing_ok=True)


def clear_heartbeats(runs: Path) -> None:
    """Remove what all runs have told, at a moment when none is under way."""
    for folder in runs.glob("*/"):
        stop_heartbeat(folder)


def shares(runs: Path) -> dict[str, Shares]:
    """Return for each run under way, by the name of its folder, the shares of its steps that are made."""
    found = {}
    for path in runs.glob(f"*/{HEARTBEAT}"):
        with contextlib.suppress(OSError, ValueError):  # it has just ended, or is of another version
            first, step, steps = map(int, path.read_text(encoding="ascii").split())
            found[path.parent.name] = Shares(first / steps, step / steps)
    return found
