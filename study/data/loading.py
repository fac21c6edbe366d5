"""The data sets by name, and the way from a name to images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..arguments import choose, require_integer
from .cache import read_cached, usual_cache
from .cifar import CIFAR10_SOURCE, CIFAR100_SOURCE
from .digits import DIGITS_SOURCE
from .download import download as fetch
from .image_data import ImageData
from .image_folder import FOLDER_SOURCE
from .source import DataSource, Found, MissingDataError
from .stl10 import STL10_SOURCE, UNLABELLED_SOURCE

DATA: Final[dict[str, DataSource]] = {
    source.name: source
    for source in (DIGITS_SOURCE, CIFAR10_SOURCE, CIFAR100_SOURCE, STL10_SOURCE, UNLABELLED_SOURCE, FOLDER_SOURCE)
}

CACHE: Final = usual_cache()


def load(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    size: int | None = None,
    cache: str | os.PathLike[str] | None = CACHE,
    workers: int | None = None,
) -> ImageData:
    """Return a data set; nothing is fetched unless that is asked for.

    Args:
        name: one of ``DATA``.
        directory: the folder or file that holds it; None for one that is bundled, or was fetched into the cache.
        download: fetch the published archive, into the directory or else the cache, if the data is not there; refused
            for data that has none.
        size: height and width that all images get by bilinear interpolation; None for those of the data set.
        cache: folder of decoded images, by default ``$XDG_CACHE_HOME/sttp`` or ``~/.cache/sttp``; None for none.
        workers: number of processes that decode; None for as many as are worth it.

    Raises:
        ValueError: the name is unknown, the data is not there, or it is damaged.
        TypeError: a number is no integer.
        OSError: the archive cannot be fetched, or the cache not be written.
    """
    source = choose("data", name, DATA)
    for argument, value in (("size", size), ("workers", workers)):
        if value is not None:
            require_integer(argument, value, minimum=1)
    cache_folder = None if cache is None else Path(cache).expanduser()
    if download:
        require_published(name)
    if source.bundled:
        if directory is not None:
            raise ValueError(f"directory must be left out with data {name!r}, which is bundled, got {str(directory)!r}")
        found = source.find(Path(), size, workers)
    else:
        found = _found(source, _place(source, directory, cache_folder, download), download, size, workers)
    return read_cached(found, name, size, cache_folder)


def fetch_missing(
    name: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    cache: str | os.PathLike[str] | None = CACHE,
) -> None:
    """Fetch the published archive of a data set, unless the data is there; nothing is read of it.

    Args:
        name, directory, cache: as for :func:`load`.

    Raises:
        ValueError: the name is unknown, no archive is published, or what came is not it.
        OSError: nothing came.
    """
    require_published(name)
    cache_folder = None if cache is None else Path(cache).expanduser()
    _found(DATA[name], _place(DATA[name], directory, cache_folder, True), True, None, None)


def require_published(name: str) -> None:
    """Refuse data that is not to be had as an archive.

    Raises:
        ValueError: as said, or the name is unknown.
    """
    if not choose("data", name, DATA).archives:
        published = ", ".join(source.name for source in DATA.values() if source.archives)
        raise ValueError(
            f"download is for data that is published in an archive, {published}, got it with data {name!r}; "
            "leave it out"
        )


def _place(source: DataSource, directory: str | os.PathLike[str] | None, cache: Path | None, download: bool) -> Path:
    """Return the path where the data is to be."""
    if directory is None:
        if cache is None or not source.archives:
            raise ValueError(f"directory must be given with data {source.name!r}, got None; give its folder or file")
        return cache / "archives"
    path = Path(directory).expanduser()
    if not path.exists() and not download:
        raise ValueError(
            f"directory={str(directory)!r} is not there; give a folder or file that holds {source.name}{_cure(source)}"
        )
    return path


def _found(source: DataSource, path: Path, download: bool, size: int | None, workers: int | None) -> Found:
    try:
        return source.find(path, size, workers)
    except MissingDataError as error:
        if not download:
            raise ValueError(f"{error}{_cure(source)}") from None
    if path.is_file():
        raise ValueError(f"directory={str(path)!r} is a file that holds no {source.name}; give a folder to download to")
    fetch(source.archives[0], path)
    return source.find(path, size, workers)


def _cure(source: DataSource) -> str:
    """Return what else can be done where data is missing."""
    if not source.archives:
        return ""
    return f"; or give --download, in Python download=True, to have {source.archives[0].url} fetched there"
