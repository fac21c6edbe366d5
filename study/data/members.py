"""Files inside a folder, or inside a compressed tar archive that is read in place."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

from .source import Archive

PIECE: Final = 1 << 20


class Member(NamedTuple):
    """A file that is open for reading until the next one is asked for, and its size in bytes."""

    name: str
    size: int
    file: IO[bytes]


def members(path: Path, names: Sequence[str]) -> Iterator[Member]:
    """Open the files of these names one after the other: in a folder, or in a tar archive in its own order.

    Nothing is written to the disk, and where in an archive a file lies does not matter.

    Raises:
        ValueError: a file is missing, or there twice.
    """
    missing = dict.fromkeys(names)
    if path.is_dir():
        for name in names:
            if (path / name).is_file():
                del missing[name]
                with (path / name).open("rb") as file:
                    yield Member(name, (path / name).stat().st_size, file)
    else:
        with tarfile.open(path, "r|*") as archive:
            for entry in archive:
                name = PurePosixPath(entry.name).name
                if name not in names or not entry.isfile():
                    continue
                if name not in missing:
                    raise ValueError(f"{path} holds {name!r} twice; use the published archive")
                del missing[name]
                opened = archive.extractfile(entry)
                assert opened is not None  # it is a regular file
                yield Member(name, entry.size, opened)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; use the published archive, or all that it holds")


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into an error that names it.

    Raises:
        ValueError: what is read inside the context is damaged.
    """
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); fetch it again") from error


def require_checksum(path: Path, archives: Sequence[Archive]) -> None:
    """Refuse a file that has the name of a published archive and another content.

    Raises:
        ValueError: as said.
    """
    for archive in archives:
        if path.is_file() and path.name == archive.file:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            require_equal_checksum(path, archive, found)


def require_equal_checksum(path: Path, archive: Archive, found: str) -> None:
    """Refuse a sum that is not the published one.

    Raises:
        ValueError: as said.
    """
    if found != archive.md5:
        raise ValueError(
            f"{path} has the MD5 sum {found}, where the published {archive.file} has {archive.md5}; "
            f"fetch it again from {archive.url}"
        )
