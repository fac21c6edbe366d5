"""Comparison studies: tasks, networks, runs, tables, plots and the command line.

What only defines studies is listed here and needs the core of the package alone. What runs them is in
``sttp.study.conduct`` (`run_study`, `redraw`) and ``sttp.study.execution`` (`register_executor`), which need the extra
`study`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._public import *  # noqa: F403 - the names are listed there, once
else:

    def __getattr__(name):
        if name.startswith("_") and name != "__all__":  # what Python asks any package for
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("._public", __name__), name)

    def __dir__():
        return sorted({*globals(), *import_module("._public", __name__).__all__})
