"""`sttp plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Import, Json


def plot(
    folder: Annotated[Path, typer.Argument(help="A folder of results that `sttp study` wrote.")],
    imports: Import = None,
    as_json: Json = False,
) -> None:
    """Redraw tables, plots and the report from a folder of results; nothing is run."""
    from ..engine import redraw  # needs the extra `study`
    from .loading import import_modules, load_wings
    from .printing import print_outcome

    load_wings()
    import_modules(imports)
    print_outcome(redraw(folder), as_json)
