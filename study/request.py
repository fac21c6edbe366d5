"""The study that a command line asks for: a name or a file, data, a scale and changed values."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .configuration import read_study, study_of
from .data import DATA
from .paper import EXPERIMENTS, paper_study
from .studies import named_study
from .study import Study
from .surroundings import Surroundings
from .tasks.images import shape_of


class DataChoice(NamedTuple):
    """A data set's name, and where it lies; None for one that is bundled or in the cache."""

    name: str
    directory: str | None


def read_data(text: str) -> DataChoice:
    """Read NAME, NAME:PATH or PATH, of a folder or file whose own name may say which data set it holds.

    Whatever stands before a colon is a name only if a data set has it: a path may have colons. A path whose last part
    is neither the name of a data set nor that of its published archive holds images by class.

    Raises:
        ValueError: no data set has this name, and there is nothing at this path.
    """
    name, colon, directory = text.partition(":")
    if name in DATA and bool(colon) == bool(directory):
        return DataChoice(name, directory or None)
    path = Path(text).expanduser()
    found = _name_of(path)
    if not text or not (path.exists() or found != "folder"):  # of data that has a name, loading says what can be done
        nearest = difflib.get_close_matches(name, DATA, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(
            f"data has no choice {text!r}; {hint}choose from {', '.join(DATA)}, or give a folder or file that is there"
        )
    return DataChoice(found, text)


def _name_of(path: Path) -> str:
    """Return the name of the data set that a path should hold."""
    own = path.absolute().name
    for name, source in DATA.items():
        archive = source.archive
        if not source.bundled and own in (name, *((archive.file, archive.outdated) if archive else ())):
            return name
    return "folder"


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
