"""How far a run is, told by the process that makes it to the one that shows the progress."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Final, NamedTuple, final

from .watch import require_study

HEARTBEATS: Final = ".progress"  # folder in a study's results that has a file for each run under way
SECONDS: Final = 1.0  # from one beat to the next


class Shares(NamedTuple):
    """How much of a run is made, from 0 to 1: before it was last begun, and in all."""

    before: float
    now: float


@final
class Heartbeat:
    """Writes how many of a run's steps are made, whole, and at most once a second.

    Args:
        folder: of the run; None writes nothing.
        first: number of steps that were made when it was last begun.
        steps: of the whole run.
    """

    def __init__(self, folder: Path | None, first: int, steps: int) -> None:
        self._file = None if folder is None else _file(folder)
        self._first = first
        self._steps = steps
        self._last = time.monotonic()

    def beat(self, step: int) -> None:
        """Tell that so many steps are made.

        Raises:
            AbandonedError: the study has died, so that there is nobody to tell.
        """
        now = time.monotonic()
        if self._file is None or now - self._last <= SECONDS:
            return
        self._last = now
        require_study(self._file.parent.parent)
        # Not flushed to the disk, for which a training would wait; and no run fails because a full disk has no room for
        # this. After a power cut no run is under way.
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            temporary = self._file.with_name(f".{self._file.name}")
            temporary.write_text(f"{self._first} {step} {self._steps}", encoding="ascii")
            temporary.replace(self._file)


def stop_heartbeat(folder: Path) -> None:
    """Remove what the run of a folder has told, which has ended."""
    _file(folder).unlink(missing_ok=True)


def clear_heartbeats(runs: Path) -> None:
    """Remove what all runs have told, at a moment when none is under way."""
    shutil.rmtree(runs.parent / HEARTBEATS, ignore_errors=True)


def shares(runs: Path) -> dict[str, Shares]:
    """Return for each run under way, by the name of its folder, the shares of its steps that are made."""
    found = {}
    for path in (runs.parent / HEARTBEATS).glob("[!.]*"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # it has just ended, or is of another version
            first, step, steps = map(int, path.read_text(encoding="ascii").split())
            found[path.name] = Shares(first / steps, step / steps)
    return found


def _file(folder: Path) -> Path:
    return folder.parent.parent / HEARTBEATS / folder.name
