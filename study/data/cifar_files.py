"""The files of the CIFAR archives: pickles of arrays, or plain records of bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np

from .pickles import read_arrays
from .source import Archive

PIXELS: Final = 3 * 32 * 32
# What an image takes at most, with its label, the name of its file and the words of the format, when it was pickled by
# Python 2 as published, or by Python 3, which writes half of all bytes as two.
PICKLED: Final = 2 * PIXELS

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@final
@dataclass(frozen=True)
class CifarLayout:
    """A published archive and how its files are read.

    Attributes:
        archive: the archive.
        folder: the folder in it.
        training: its files of training images, in order.
        test: its file of test images.
        parse: returns pixels ``(n, 3072)`` and labels ``(n,)`` of a file's content and name.
        bytes_an_image: at most.
    """

    archive: Archive
    folder: str
    training: tuple[str, ...]
    test: str
    parse: Callable[[bytes, str], Arrays]
    bytes_an_image: int


def parse_pickle(content: bytes, file: str, label_key: str) -> Arrays:
    """Return pixels and labels of a file of the archive for Python.

    Raises:
        ValueError: it is damaged, or names anything but arrays, or lacks its fields.
    """
    fields = read_arrays(content, file)
    pixels, labels = fields.get("data"), fields.get(label_key)
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list | np.ndarray):
        raise ValueError(
            f"{file} must hold an array 'data' and a list {label_key!r}, got {', '.join(sorted(fields))}; "
            "fetch it again"
        )
    if not all(isinstance(label, int | np.integer) and 0 <= label < 256 for label in labels):
        raise ValueError(f"{file} has labels that are no integers from 0 to 255; fetch it again")
    return pixels, np.asarray(labels, dtype=np.int64).reshape(-1)


def parse_records(content: bytes, file: str, label_bytes: int) -> Arrays:
    """Return pixels and labels of a binary file: records of labels, of which the last counts, and pixels.

    Raises:
        ValueError: the file ends inside a record.
    """
    record = label_bytes + PIXELS
    if len(content) % record or not content:
        raise ValueError(f"{file} has {len(content)} bytes, which are no records of {record} bytes; fetch it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, label_bytes:], records[:, label_bytes - 1]


def cifar_layout(archive: Archive, folder: str, training: tuple[str, ...], test: str, label: str | int) -> CifarLayout:
    """Return a layout: of pickles where the label is a field's name, of records where it is a number of bytes."""
    if isinstance(label, str):
        return CifarLayout(archive, folder, training, test, partial(parse_pickle, label_key=label), PICKLED)
    return CifarLayout(archive, folder, training, test, partial(parse_records, label_bytes=label), PIXELS + label)
