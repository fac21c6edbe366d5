"""Studies from TOML files and from plain values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .arguments import require_known
from .curve import Method
from .settings import Settings
from .study import Study
from .tasks import TASKS


def read_study(path: Path) -> Study:
    """Read a study from a TOML file with the fields of :class:`Study` and of its :class:`Settings`, side by side.

    The name is by default that of the file; a task may have defaults of its own.

    Raises:
        ValueError: the file cannot be read, is no TOML, or has an unknown key or value.
        TypeError: a value is not of its kind.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"study {str(path)!r} cannot be read ({error}); give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"study {str(path)!r} is not TOML ({error}); mend that line") from None
    return study_of({"name": path.stem} | values)


def study_of(values: Mapping[str, Any]) -> Study:
    """Build a study from plain values, as a TOML file or :meth:`Study.to_dict` has them.

    Raises:
        ValueError: a key or value is unknown or missing.
        TypeError: a value is not of its kind.
    """
    settings = {field.name for field in fields(Settings)}
    known = [*(field.name for field in fields(Study) if field.name != "settings"), *sorted(settings)]
    for key in values:
        require_known("key of a study", key, known)
    if "methods" not in values:
        raise ValueError("methods is missing; give a list such as ['dense', 'sttp stiefel']")
    task = TASKS.get(str(values.get("task")))
    filled = {} if task is None else task.defaults
    arguments: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in {**filled, **values}.items()
    }
    arguments["settings"] = Settings(**{key: arguments.pop(key) for key in sorted(settings & arguments.keys())})
    if isinstance(arguments["methods"], tuple):
        arguments["methods"] = tuple(Method.parse(text) for text in arguments["methods"])
    return Study(**arguments)
