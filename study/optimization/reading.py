"""Problems from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..arguments import choose, require_known
from .trial import PROBLEM_KINDS, AnyProblem


def problem_of(values: object) -> AnyProblem:
    """Build a problem from plain values, as a TOML file has them: its kind and what differs from its defaults.

    Raises:
        TypeError: the values are no table, or one is not of its kind.
        ValueError: the kind or a key is unknown, or a value out of range.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"problems must be tables such as {{kind = 'procrustes', n = 40, p = 6}}, got {values!r}")
    content: dict[str, Any] = dict(values)
    kind: type[Any] = choose("kind of problem", content.pop("kind", None), PROBLEM_KINDS)
    known = [field.name for field in fields(kind)]
    for key in content:
        require_known(f"key of the problem {kind.kind!r}", key, known)
    problem: AnyProblem = kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    )
    return problem
