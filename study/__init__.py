"""Comparison studies: what is compared, how its runs are made, and what they show.

::

    from sttp.study import Method, Training, compare

What only defines studies needs the core of the package alone; what runs and draws them needs the extra `study`.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._public import *  # noqa: F403 - the names are listed there, once
    from .engine import redraw as redraw
    from .engine import run_study as run_study
else:
    _MAKING = ("redraw", "run_study")  # which need the extra `study`

    def __getattr__(name):
        if name.startswith("_") and name != "__all__":  # what Python asks any package for
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if find_spec(f"{__name__}.{name}") is not None:  # which needs none of the public names
            return import_module(f".{name}", __name__)
        public = import_module("._public", __name__)  # which loads all kinds of studies
        return getattr(import_module(".engine", __name__) if name in _MAKING else public, name)

    def __dir__():
        return sorted({*globals(), *import_module("._public", __name__).__all__, *_MAKING})
