"""Published archives from where they are published."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from ...layers import write_atomically
from .members import PIECE, require_equal_checksum
from .source import Archive

TIMEOUT: Final = 60.0


def download(archive: Archive, folder: Path) -> Path:
    """Fetch an archive into a folder, where it appears only when it is whole and has its published sum.

    Raises:
        ValueError: what came has another sum.
        OSError: nothing came.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive.file
    try:
        write_atomically(path, lambda temporary: _fetch(archive, temporary, path))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise OSError(
            f"{archive.url} cannot be fetched ({error}); try again, or fetch it by other means and put it into {folder}"
        ) from error
    return path


def _fetch(archive: Archive, temporary: Path, path: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as source, temporary.open("wb") as target:
        while piece := source.read(PIECE):
            digest.update(piece)
            target.write(piece)
    require_equal_checksum(path, archive, digest.hexdigest())
