"""What a command loads before it looks a name up: the wings of this package, and modules of the user's."""

from __future__ import annotations

import importlib
from collections.abc import Iterable


def load_wings() -> None:
    """Import what registers the kinds of studies of this package, their parts and the built-in studies."""
    from .. import paper, problems, tasks  # noqa: F401


def import_modules(names: Iterable[str] | None) -> None:
    """Import what registers parts of the user's.

    Raises:
        ValueError: a module cannot be imported, whose own error is shown.
    """
    for name in names or ():
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ValueError(
                f"--import {name!r} cannot be imported ({type(error).__name__}: {error}); give the name of a module "
                f"that is installed or lies in the current folder"
            ) from error
