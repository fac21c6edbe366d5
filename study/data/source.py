"""Where a data set comes from: what it is called, what it looks like, and how it is found and read."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

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
    """

    file: str
    url: str
    md5: str


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
    """A data set that :func:`~sttp.study.data.load` knows.

    Attributes:
        bundled: whether it is at hand without files.
        name: what it is called.
        description: what it holds, in a few words.
        classes: names of its classes; None where the files tell.
        image_shape: channels, height and width of its images by default; None where the files tell.
        archives: the published files, of which any one holds all of it; the first is the one to download.
    """

    bundled: ClassVar[bool] = False
    name: str
    description: str
    classes: tuple[str, ...] | None
    image_shape: tuple[int, int, int] | None
    archives: tuple[Archive, ...]

    @abc.abstractmethod
    def find(self, path: Path, size: int | None, workers: int | None) -> Found:
        """Return the files of the data set at a path; nothing is decoded yet.

        Args:
            path: a folder or a file; ignored where the data is bundled.
            size: height and width that all images get; None for those of ``image_shape``.
            workers: processes that decode; None for as many as are worth it.

        Raises:
            MissingDataError: there is no such data at the path.
            ValueError: some of its files are missing.
        """
