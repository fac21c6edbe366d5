"""`sttp report`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .choices import NETWORKS, PARAMETERIZATIONS, SPECTRA
from .options import Import, Json, import_modules, integer


def report(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}, or package.module:object.")],
    parameterization: Annotated[
        str, typer.Option(help=f"One of {', '.join(PARAMETERIZATIONS)}, or package.module:object.")
    ] = "sttp",
    rank: Annotated[int, typer.Option(parser=integer, help="Bound on the ranks, at least 1.")] = 64,
    spectrum: Annotated[str, typer.Option(help=f"One of {', '.join(SPECTRA)}.")] = "free",
    skip: Annotated[
        list[str] | None, typer.Option(help="A layer, or a pattern of layers, to leave dense; may be repeated.")
    ] = None,
    base_width: Annotated[
        int | None, typer.Option(parser=integer, help="Width of another form of the network.")
    ] = None,
    depth: Annotated[int | None, typer.Option(parser=integer, help="Depth of another wide residual network.")] = None,
    widen_factor: Annotated[
        int | None, typer.Option(parser=integer, help="How wide a wide residual network is, as in wrn-28-10.")
    ] = None,
    imports: Import = None,
    as_json: Json = False,
) -> None:
    """Count the degrees of freedom of a network's layers, and its compression Z in percent."""
    import torch

    from ...layers import report as count
    from ..networks import network_entry
    from ..parts import specification
    from .printing import print_compression

    import_modules(imports)
    entry = network_entry(network)
    options = {"depth": depth, "widen_factor": widen_factor}
    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        with torch.device("meta"):  # a count needs no weights
            built = entry.build(base_width, **chosen)
    except (NotImplementedError, RuntimeError):  # a network of one's own may read weights while it is built
        built = entry.build(base_width, **chosen)
    counted = count(built, specification(parameterization, rank, spectrum), (*entry.skip, *(skip or ())))
    if as_json:
        print(json.dumps(counted.to_dict()))
    else:
        print_compression(counted, f"{network}, {parameterization}, rank {rank}, spectrum {spectrum}")
