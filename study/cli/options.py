"""What several commands share: options, how numbers are read, and what is loaded before a name is looked up."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Annotated

import typer


def integer(text: str) -> int:
    """Read an integer from the command line."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no integer; give one such as 8") from None


def number(text: str) -> float:
    """Read a number from the command line."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number; give one such as 0.01") from None


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs and no table.")]
Import = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import a module that registers parts of your own, from what is installed or the current folder; may be "
        "repeated.",
    ),
]


def load_wings() -> None:
    """Import what registers the kinds of studies of this package, their parts and the built-in studies."""
    from .. import paper, problems, tasks  # noqa: F401


def import_modules(names: Iterable[str] | None) -> None:
    """Import what registers parts of the user's."""
    for name in names or ():
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ValueError(
                f"--import {name!r} cannot be imported ({type(error).__name__}: {error}); give the name of a module "
                f"that is installed or lies in the current folder"
            ) from error
