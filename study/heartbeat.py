"""A run tells its study how far it is, and ends with it, whatever ends that."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple, final

HEARTBEATS: Final = ".progress"  # folder in a study's results that has a file for each run under way
SECONDS: Final = 1.0  # from one beat to the next
LOCK: Final = ".lock"  # a study that lives keeps this file of its folder locked
PARENT_SECONDS: Final = 0.2  # how often a worker looks for its parent


class AbandonedError(RuntimeError):
    """The study of a run has ended, so that nobody waits for the run."""


class Shares(NamedTuple):
    """How much of a run is made, from 0 to 1: before it was last begun, and in all."""

    before: float
    now: float


@final
class Heartbeat:
    """Writes how many of a run's steps are made, whole, and at most once a second."""

    def __init__(self, folder: Path | None, first: int, steps: int) -> None:
        self._file = None if folder is None else _file(folder)
        self._first = first
        self._steps = steps
        self._last = time.monotonic()

    def beat(self, step: int) -> None:
        """Tell that so many steps are made."""
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


def end_with(parent: int) -> None:
    """End this process within a moment of the one that has started it; called in a worker before all else.

    Windows does not tell a process that its parent is gone: there a worker makes its run to the end.
    """
    if os.getpid() != parent:
        threading.Thread(target=_wait_for_the_end_of, args=(parent,), daemon=True).start()


def sign_lock(folder: Path) -> None:
    """Write on the lock of a folder, which this process has, which machine it is kept by."""
    if os.name == "posix":  # Windows lets nobody write what is locked
        (folder / LOCK).write_text(socket.gethostname(), encoding="utf-8")


def require_study(folder: Path) -> None:
    """Refuse to write into a folder of results whose study has died.

    Only a process of the same machine can see that it has; without a lock there is no study to wait for.
    """
    try:
        import fcntl

        with (folder / LOCK).open(encoding="utf-8") as file:
            if file.read() != socket.gethostname():
                return
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (ImportError, OSError):  # somebody has it, or the system cannot tell
        return
    raise AbandonedError(f"the study in {str(folder)!r} has ended, and this run with it; begin the study again")


def _wait_for_the_end_of(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)  # in the middle of whatever it does: all that is written is written whole
