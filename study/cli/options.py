"""Options that several commands have, and how numbers are read from the command line."""

from __future__ import annotations

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
