"""Studies of optimizers from TOML files and from plain values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..arguments import require_known
from .setting import Setting
from .study import KIND, OPTIMIZER_STUDIES, OptimizerStudy
from .trial import problem_of


def optimizer_study(name: str) -> OptimizerStudy | None:
    """Return the study of optimizers that a name or a TOML file stands for; None where it is none of optimizers.

    A TOML file is one with ``kind = "optimizers"``.

    Raises:
        ValueError: such a file has an unknown key or value.
        TypeError: a value of it is not of its kind.
    """
    if name in OPTIMIZER_STUDIES:
        return OPTIMIZER_STUDIES[name]
    path = Path(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8")) if path.suffix == ".toml" else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None  # who reads the other studies says why
    if values.pop("kind", None) != KIND:
        return None
    return optimizer_study_of({"name": path.stem} | values)


def optimizer_study_of(values: Mapping[str, Any]) -> OptimizerStudy:
    """Build a study from plain values, as a TOML file or :meth:`OptimizerStudy.to_dict` has them.

    Raises:
        ValueError: a key or value is unknown.
        TypeError: a value is not of its kind.
    """
    known = [field.name for field in fields(OptimizerStudy)]
    for key in values:
        require_known("key of a study of optimizers", key, known)
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    if "problems" in plain:
        if not isinstance(plain["problems"], tuple):
            raise TypeError(f"problems must be a list of tables, got {plain['problems']!r}")
        plain["problems"] = tuple(problem_of(problem) for problem in plain["problems"])
    if "centre" in plain:
        if not isinstance(plain["centre"], Mapping):
            raise TypeError(f"centre must be a table such as {{optimizer = 'riemannian-sgd'}}, got {plain['centre']!r}")
        for key in plain["centre"]:
            require_known("key of the centre", key, [field.name for field in fields(Setting)])
        plain["centre"] = Setting(**plain["centre"])
    return OptimizerStudy(**plain)
