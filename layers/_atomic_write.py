"""Files of which at any moment there is the old content or the new one."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from safetensors import SafetensorError

from ..manifolds import require_function, require_instance

if sys.platform != "win32":
    import fcntl

# A full disk, a full quota, the largest file that the process or the disk allows; and a disk that fails.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_THE_DISK: Final = (*_NO_ROOM, errno.EIO)
# How safetensors, whose errors are of a class of its own, tells what the system refused: now, and before version 0.6.
_SYSTEM_REFUSAL: Final = re.compile(r"(?:os error |Os \{ code: )(\d+)")
# How torch.save's writer says, in a plain RuntimeError, that a file did not take what it was given.
_TORCH_REFUSAL: Final = re.compile(r"PytorchStreamWriter failed|basic_ios::clear|inline_container\.cc.*unexpected pos")
# Bytes that do not fit beside a file that a full disk has cut off.
_PROBE: Final = 2**20


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file under another name, flush it to the disk, and move it to its place.

    Where ``write`` fails, or the process is killed, the file that was there stays as it is. What a killed writer of the
    same path left, ``.NAME.….tmp``, is removed.

    Raises:
        TypeError: an argument is of another kind.
        OSError: the disk is full, or the folder cannot be written, whatever error the library that writes has for it;
            the message names the file.
    """
    require_instance("path", path, Path, "a pathlib.Path")
    require_function("write", write, "a function that fills the file of a path")
    _remove_leftovers(path)
    with _locked_temporary(path) as temporary:
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)  # a temporary file is its owner's alone
            temporary.replace(path)
        except Exception as error:
            number = _refusal_of_the_disk(error, temporary)
            if number is None:
                raise
            # The system names no file where an open one cannot grow, and libraries name none at all.
            cure = "make room, and try again" if number in _NO_ROOM else "the file that was there is as it was"
            raise OSError(number, f"{os.strerror(number)}; {cure}", str(path)) from error


def _refusal_of_the_disk(error: Exception, file: Path) -> int | None:
    """Return the number of the system's error where a file was refused something, None for all other errors.

    torch.save does not pass it on: a further piece for the same file shows whether there is no room.
    """
    if isinstance(error, OSError):
        return error.errno if error.errno in _OF_THE_DISK else None
    if isinstance(error, SafetensorError) and (found := _SYSTEM_REFUSAL.search(str(error))):
        return int(found[1])
    if not isinstance(error, RuntimeError) or not _TORCH_REFUSAL.search(str(error)):
        return None
    try:
        with file.open("ab") as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as refusal:
        return refusal.errno
    return errno.EIO


# --- temporary files ---


@contextmanager
def _locked_temporary(path: Path) -> Iterator[Path]:
    """Make an empty file beside a path, locked as long as this process lives: what a kill leaves is not."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            _lock(handle, wait=True)
            if os.fstat(handle).st_nlink:
                yield temporary
                return
            # Another writer took it for a leftover before it was locked.
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of a path that no living process has locked."""
    leftover = re.compile(re.escape(_prefix(path)) + r"[a-z0-9_]{8}\.tmp")
    # The folder is not there, or the file is another user's: the writer will say so, or need not.
    with suppress(OSError):
        for name in filter(leftover.fullmatch, os.listdir(path.parent)):
            with suppress(OSError):
                handle = os.open(path.parent / name, os.O_RDWR)
                try:
                    if _lock(handle, wait=False):
                        (path.parent / name).unlink()
                finally:
                    os.close(handle)


def _prefix(path: Path) -> str:
    return f".{path.name[:50]}."  # the whole name may be as long as names can be


def _lock(handle: int, wait: bool) -> bool:
    """Lock an open file; return whether that succeeded, which without locks it never does."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process has it, or the disk has no locks
        return False
    return True
