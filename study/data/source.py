"""Where a data set comes from, and the register of all data sets by name."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from .._plain import require_folder_name
from .image_data import ImageData


class MissingDataError(ValueError):
    """There is no such data at a path."""


@final
@dataclass(frozen=True)
class Archive:
    """A file that the authors of a data set publish.

    Attributes:
        file: its name.
        url: where it is to be had.
        md5: its published MD5 sum, which tells damage but no forgery.
        folder: the folder in it.
        outdated: the name of another form of it, which is not read.
    """

    file: str
    url: str
    md5: str
    folder: str
    outdated: str = ""


@final
@dataclass(frozen=True)
class Found:
    """Files that hold a data set.

    Attributes:
        files: all that is read, by which a cached copy is known to be of these files; empty where data is bundled.
        read: reads and decodes them.
    """

    files: tuple[Path, ...]
    read: Callable[[], ImageData]


class DataSource(abc.ABC):
    """A data set that :func:`~sttp.study.data.load` knows once it is registered.

    Attributes:
        description: what it holds, in a few words.
        classes: names of its classes; None where the files tell.
        image_shape: channels, height and width of its images by default; None where the files tell.
        archive: the published file to download; None where there is none.
        bundled: whether it is at hand without files.
    """

    description: str
    classes: tuple[str, ...] | None = None
    image_shape: tuple[int, int, int] | None = None
    archive: Archive | None = None
    bundled: bool = False

    @abc.abstractmethod
    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the files of the data set at a path; nothing is decoded yet.

        Args:
            path: a folder or a file; ignored where the data is bundled.
            size: height and width that all images will have; what is read may have others, and is resized then.
            workers: processes that decode; None for as many as are worth it.

        Raises:
            MissingDataError: there is no such data at the path.
            ValueError: some of its files are missing, or of a kind that is not read.
        """


DATA: Final[dict[str, DataSource]] = {}


def register_data(name: str, source: DataSource) -> None:
    """Make a data set known by a name, wherever a name is taken: ``load``, ``--data``, a study's ``data``.

    Raises:
        TypeError: the source is no :class:`DataSource`.
        ValueError: the name is blank, has a colon or a slash, or is taken.
    """
    require_folder_name("name", name)
    if not isinstance(source, DataSource):
        raise TypeError(f"source must be a DataSource, an object of a subclass with find, got {source!r}")
    if ":" in name or name in DATA:
        why = "is taken" if name in DATA else "has a colon, after which a path is given"
        raise ValueError(f"name {name!r} of a data set {why}; choose another")
    DATA[name] = source
