"""Files of which at any moment there is the old content or the new one."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file under another name, flush it to the disk, and move it to its place.

    Where ``write`` fails, or the process is killed, the file that was there stays as it is.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the message names the file.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)  # a temporary file is its owner's alone
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # The system names no file where an open one cannot grow.
        raise OSError(error.errno, f"{error.strerror}; make room, and try again", str(path)) from error
