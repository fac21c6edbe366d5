"""The study that a command line asks for: a name, a file or an object, data, a scale and changed values."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from .._plain import require_known
from ..data import DATA, require_published
from ..definition import STUDIES, Study, read_study
from ..paper import EXPERIMENTS, paper_study
from ..surroundings import Surroundings
from ..tasks.adaptation import WITH_MODEL
from ..tasks.images import shape_of


class DataChoice(NamedTuple):
    """A data set's name, and where it lies; None for one that is bundled or in the cache."""

    name: str
    directory: str | None


def read_data(text: str) -> DataChoice:
    """Read NAME, NAME:PATH or PATH, of a folder or file whose own name may say which data set it holds.

    Whatever stands before a colon is a name only if a data set has it: a path may have colons. A path whose last part
    is neither the name of a data set nor that of its published archive holds images by class.
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


def folder_of_texts(model: str, data: str | None) -> str:
    """Return the folder of labelled texts to which a model is adapted: no data set of the register."""
    if data is None:
        raise ValueError(f"model={model!r} needs labelled texts to be adapted to; give their folder by --data")
    if not Path(data).expanduser().is_dir():
        raise ValueError(f"data must be a folder of labelled texts beside --model, got {data!r}")
    return data


def _name_of(path: Path) -> str:
    """Return the name of the data set that a path should hold."""
    own = path.absolute().name
    for name, source in DATA.items():
        archive = source.archive
        if not source.bundled and own in (name, *((archive.file, archive.outdated) if archive else ())):
            return name
    return "folder"


def requested_study(
    name: str,
    data: DataChoice | None = None,
    size: int | None = None,
    scale: float | None = None,
    changes: Iterable[str] = (),
    model: str | None = None,
) -> Study:
    """Return the study that a command line asks for.

    Args:
        name: of a built-in or registered study, the path of a TOML file, or ``package.module:object`` of a study.
        data: what it is about; None for what the study says.
        size: what images of a folder are resized to.
        scale: of the paper's experiments, 1 by default.
        changes: such as ``steps=100``, the value as in a TOML file.
        model: folder of a pretrained encoder, which is adapted to texts.

    Raises:
        ValueError: a name or key is unknown, or a value out of range.
        TypeError: a value is not of its kind.
    """
    values = dict(read_change(change) for change in changes)
    if model is not None:
        values = {**WITH_MODEL, "network.folder": model, **values}
    if name in EXPERIMENTS:
        for key in ("data", "size"):
            if key in values:
                raise ValueError(
                    f"--set {key}={values[key]} comes too late to build the study by; give --{key} {values[key]}"
                )
        chosen = data or DataChoice("digits", None)
        shape = shape_of(chosen.name, size, Surroundings(data=chosen.directory))
        study = paper_study(name, chosen.name, shape, 1.0 if scale is None else scale)
    elif scale is not None:
        raise ValueError(f"scale is for the paper's experiments, {', '.join(EXPERIMENTS)}, got {scale} with {name!r}")
    else:
        study = named_study(name)
    for key, value in (("data", None if data is None else data.name), ("size", size)):
        if value is not None:
            require_key(study, key)
            values.setdefault(key, value)
    return changed(study, values) if values else study


def named_study(name: str) -> Study:
    """Return a registered study, that of a TOML file, or the object of ``package.module:object``."""
    if name.endswith(".toml") or Path(name).is_file():
        return read_study(Path(name))
    if ":" not in name:
        require_known("study, unless it is a TOML file or package.module:object,", name, STUDIES)
    return STUDIES[name]


def changed(study: Study, values: Mapping[str, Any]) -> Study:
    """Return a study with other values for some of its keys.

    A list for one of its factors is what that is varied over, and an empty one leaves the factor out. A single value
    for a factor is the centre of a design that has one, and else the only value.
    """
    content, given = study.to_dict(), dict(values)
    factors = dict(content.pop("factors"))
    if "search" in given:  # whose options are keys, too
        content = {key: value for key, value in content.items() if key not in asdict(study.search)}  # type: ignore[call-overload]
    if isinstance(content.get("centre"), Mapping):  # which would have the last word
        content["centre"] = {key: value for key, value in content["centre"].items() if key not in given}
    for key in list(given):
        factor = study.of.short_forms.get(key, key)
        if factor not in factors:
            continue
        if given[key] == []:
            del factors[factor], given[key]
        elif key == factor and isinstance(given[key], list):
            factors[factor] = given.pop(key)
        elif key == factor and not study.groups:
            factors[factor] = [given.pop(key)]
    return Study.from_dict({**content, "factors": factors, **given})


def require_key(study: Study, key: str) -> None:
    """Refuse an option that stands for a key which the study's kind does not have."""
    if key not in study.of.defaults:
        raise ValueError(
            f"--{key} is for studies that have the key {key!r}, got it with {study.name!r} of the kind "
            f"{study.kind!r}; leave it out"
        )


def require_downloads(study: Study) -> None:
    """Refuse to fetch data that is not published, of a study that has other data, or none."""
    if "data" not in study.of.defaults:
        raise ValueError(f"--download is for studies on data, got it with {study.name!r}; leave it out")
    for name in study.factors.get("data", (study.shared["data"],)):
        require_published(str(name))


def read_change(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; a value that is no TOML is a string."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ValueError(f"--set must be KEY=VALUE, such as steps=100, got {text!r}")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
