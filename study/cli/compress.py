"""`sttp compress`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Json, integer, number


def compress(
    model: Annotated[
        str, typer.Argument(help="A folder of Hugging Face's, or an id, or with --network a safetensors file.")
    ],
    z: Annotated[
        float | None, typer.Option("--z", parser=number, help="Budget for the whole network, in percent.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(parser=number, help="Relative error of each weight, in place of a budget.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="sttp, trains; svdp, U diag(s) V'; or svd, the same in two plain layers.")
    ] = "sttp",
    modes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PATTERN=]MODES",
            help="Modes of trains: auto, the default, prime, balanced, or those of rows and columns, 4x8,3x4; of all "
            "layers, or of those that match a pattern; may be repeated.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="TEXTS|IMAGES|ARRAYS",
            help="Texts (.txt, .csv, .parquet), a folder of images, or arrays (.npy, .npz): the metric of the fits.",
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the texts; by default the first one of texts.")] = None,
    samples: Annotated[int, typer.Option(parser=integer, help="Examples that the metric is made from.")] = 256,
    joint: Annotated[
        list[str] | None,
        typer.Option(help="A pattern of layers that read the same input, to be one weight; may be repeated."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="A layer, or a pattern of layers, to leave dense; may be repeated.")
    ] = None,
    recover: Annotated[
        int, typer.Option(metavar="STEPS", parser=integer, help="Steps of distillation from the dense model.")
    ] = 0,
    lr: Annotated[float, typer.Option(parser=number, help="Learning rate of the recovery.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(parser=integer, help="Examples at once.")] = 32,
    seed: Annotated[int, typer.Option(parser=integer, help="Of the examples that are drawn.")] = 0,
    network: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="What builds the network of a safetensors file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the result, which must not exist; without it nothing is written.")
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(help="Write plain torch.nn weights, too, in OUTPUT/dense or OUTPUT/factored; may be repeated."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a model by its id; nothing is fetched without this.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compress a pretrained network, and print its layers with their ranks, errors and freedom."""
    if export and output is None:
        raise typer.BadParameter("--export writes into the folder of --output; give one")
    if output is not None and output.exists():
        raise typer.BadParameter(f"--output {str(output)!r} exists and is not overwritten; give another folder")
    from ...manifolds import require_choice
    from ..networks.source import source_of, transformers_or_refuse
    from ..pretrained import compress as compressed
    from ..pretrained.calibration import read_batches
    from ..pretrained.compression import FORMS
    from .printing import compression_bar, print_compression

    for form in export or ():
        require_choice("export", form, FORMS)
    chosen = _modes(modes or ["auto"])
    source = source_of(model, network, download)
    if network is None:
        transformers_or_refuse().utils.logging.disable_progress_bar()  # of reading and writing, which take no time

    def batches(count: int) -> list[object] | None:
        if calibration is None:
            return None
        options = {"count": count, "batch_size": batch_size, "column": column, "seed": seed}
        return read_batches(calibration, source, **options)  # type: ignore[arg-type]

    with compression_bar(recover) as progress:
        outcome = compressed(
            model,
            z,
            tolerance=tolerance,
            method=method,  # type: ignore[arg-type]
            modes=chosen,
            skip=skip or (),
            joint=joint or (),
            calibration=batches(samples),
            steps=recover,
            recovery=batches(recover * batch_size) if recover else None,
            lr=lr,
            network=network,
            download=download,
            progress=progress,
        )
    if output is not None:
        outcome.save(output)
        for form in export or ():
            outcome.export(output / form, form)  # type: ignore[arg-type]
    if as_json:
        losses = {"losses": list(outcome.losses)} if outcome.losses else {}
        print(json.dumps({**outcome.report.to_dict(), **losses, "output": None if output is None else str(output)}))
        return
    print_compression(outcome.report, f"{model}, {method}", bonds=True)
    if outcome.losses:
        typer.echo(
            f"Relative squared error of outputs and hidden states: {outcome.losses[0]:.4g} to {outcome.losses[-1]:.4g}"
        )
    if output is not None:
        typer.echo(f"Written: {output}; sttp.study.load_compressed reads it")


def _modes(given: list[str]) -> Any:
    """Return modes as a specification takes them: of all layers, or by patterns, with the rest's or ``auto`` behind."""
    pairs = [text.rpartition("=") for text in given]
    rest = [_read_modes(text) for pattern, _, text in pairs if not pattern]
    if len(rest) > 1:
        raise ValueError(
            f"--modes must be given once for all layers, got {' and '.join(given)}; name patterns, P=MODES"
        )
    by_layer = {pattern: _read_modes(text) for pattern, _, text in pairs if pattern}
    return {**by_layer, "*": rest[0] if rest else "auto"} if by_layer else rest[0]


def _read_modes(text: str) -> Any:
    if "," not in text:
        return text
    sides = [side.split("x") for side in text.split(",")]
    if len(sides) != 2 or not all(size.isdecimal() for side in sides for size in side):
        raise ValueError(f"--modes must be a name, or modes of rows and columns such as 4x8,3x4, got {text!r}")
    return tuple(tuple(map(int, side)) for side in sides)
