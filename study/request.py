"""The study that a command line asks for: a name or a file, data, a scale and changed values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .configuration import read_study, study_of
from .images import KNOWN_SHAPES, shape_of
from .paper import EXPERIMENTS, paper_study
from .studies import named_study
from .study import Study
from .surroundings import Surroundings
from .validation import require_known


class DataChoice(NamedTuple):
    """A data set's name, and where it lies; None for one that is bundled or in the cache."""

    name: str
    directory: str | None


def read_data(text: str) -> DataChoice:
    """Read NAME, NAME:FOLDER or FOLDER, whose own name says which data set it holds; by default images by class.

    Raises:
        ValueError: the name is unknown and no folder or file of this name is there.
    """
    name, _, directory = text.partition(":")
    known = (*KNOWN_SHAPES, "folder")
    if directory:
        require_known("data", name, known)
        return DataChoice(name, directory)
    if text in known:
        return DataChoice(text, None)
    path = Path(text)
    if not path.exists():
        require_known("data", text, known)
    return DataChoice(path.name if path.name in KNOWN_SHAPES else "folder", text)


def requested_study(
    name: str, data: DataChoice | None, size: int | None, scale: float | None, changes: Iterable[str]
) -> Study:
    """Return the study that a command line asks for.

    Args:
        name: of a built-in study, or the path of a TOML file.
        data: what it is about; None for what the study says.
        size: what images of a folder are resized to.
        scale: of the paper's experiments, 1 by default.
        changes: such as ``steps=100``, the value as in a TOML file.

    Raises:
        ValueError: a name or key is unknown, or a value out of range.
        TypeError: a value is not of its kind.
    """
    values = dict(read_change(change) for change in changes)
    for key in ("data", "size"):
        if key in values:
            raise ValueError(
                f"--set {key}={values[key]} comes too late to build the study by; give --{key} {values[key]}"
            )
    if name in EXPERIMENTS:
        chosen = data or DataChoice("digits", None)
        shape = shape_of(chosen.name, size, Surroundings(data=chosen.directory))
        study = paper_study(name, chosen.name, shape, 1.0 if scale is None else scale)
    elif scale is not None:
        raise ValueError(f"scale is for the paper's experiments, {', '.join(EXPERIMENTS)}, got {scale} with {name!r}")
    else:
        is_file = name.endswith(".toml") or Path(name).is_file()
        study = read_study(Path(name)) if is_file else named_study(name)
    if data is not None:
        values.setdefault("data", data.name)
    if size is not None:
        values.setdefault("size", size)
    return study_of(study.to_dict() | values) if values else study


def read_change(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; a value that is no TOML is a string.

    Raises:
        ValueError: there is no key.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ValueError(f"--set must be KEY=VALUE, such as steps=100, got {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
