"""Runs end with the study that they are made for, whatever ends that."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Final

from .failures import AbandonedError

LOCK: Final = ".lock"  # a study that lives keeps this file of its folder locked
SECONDS: Final = 0.2  # how often a worker looks for its parent


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

    Raises:
        AbandonedError: it has.
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
        time.sleep(SECONDS)
    os._exit(1)  # in the middle of whatever it does: all that is written is written whole
