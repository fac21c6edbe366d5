"""`sttp study` and `sttp plot`: results, and what is drawn of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..surroundings import CHECKPOINT_SECONDS, THREADS
from .choices import DATA_SETS, EXECUTORS, STUDIES
from .options import Import, Json, import_modules, integer, load_wings, number


def study(
    name: Annotated[
        str,
        typer.Argument(
            help=f"A built-in study ({', '.join(STUDIES)}), a TOML file, or package.module:STUDY of your own."
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default results/NAME.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key of the study; may be repeated."),
    ] = None,
    imports: Import = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|NAME:PATH|PATH",
            help=f"Data set: {', '.join(DATA_SETS)}, or a folder or zip of images by class; by default the study's.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Of the study adapters: a folder of transformers with an encoder of texts; --data is then one with "
            "train, validation and test in parquet or CSV, with a column label.",
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch the published archive to the data's folder, or the cache, if the data is not there. Nothing is "
            "fetched without this, or with --dry-run.",
        ),
    ] = False,
    size: Annotated[
        int | None, typer.Option(parser=integer, help="Height and width that images are resized to.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            parser=number, help="Of a paper-… study: S times the steps, √S times widths and ranks; at most 1."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print runs, Z, and time and memory measured on a few steps of noise; run nothing."
        ),
    ] = False,
    executor: Annotated[str, typer.Option(help=f"What makes the runs: {', '.join(EXECUTORS)}.")] = EXECUTORS[0],
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of the cluster that --executor dask or ray is to use.")
    ] = None,
    workers: Annotated[int | None, typer.Option(parser=integer, help="Runs at once; by default one a core.")] = None,
    device: Annotated[str, typer.Option(help="Device of the runs, such as cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(parser=integer, help="Threads of torch for each run.")] = THREADS,
    checkpoint_seconds: Annotated[
        float, typer.Option(parser=number, help="Seconds from one checkpoint inside a run to the next.")
    ] = CHECKPOINT_SECONDS,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files.")] = False,
    as_json: Json = False,
) -> None:
    """Run a comparison study, or go on with one that was interrupted, and write its tables, plots and report."""
    from .. import processes
    from ..engine import run_study  # needs the extra `study`
    from ..executors import executor_of
    from ..progress import ProgressDisplay
    from ..surroundings import Surroundings
    from .estimate import estimate_study
    from .printing import print_estimate, print_outcome
    from .request import folder_of_texts, read_data, requested_study, require_downloads

    load_wings()
    import_modules(imports)
    where = executor_of(executor, scheduler=scheduler)
    chosen = read_data(data) if data is not None and model is None else None
    directory = None if chosen is None else chosen.directory
    if model is not None:
        directory = folder_of_texts(model, data)
    requested = requested_study(name, chosen, size, scale, changes or (), model)
    if download:
        require_downloads(requested)
    surroundings = Surroundings(
        data=directory,
        download=download,
        device=device,
        threads=threads,
        checkpoint_seconds=checkpoint_seconds,
        tensorboard=tensorboard,
    )
    if dry_run:
        print_estimate(requested, estimate_study(requested, surroundings, where, workers), as_json)
        return
    folder = Path("results") / requested.name if output is None else output
    with ProgressDisplay(folder) as display:
        outcome = run_study(requested, folder, where, workers, display, surroundings)
    if processes.rank() == 0:
        print_outcome(outcome, as_json)
    processes.end()


def plot(
    folder: Annotated[Path, typer.Argument(help="A folder of results that `sttp study` wrote.")],
    imports: Import = None,
    as_json: Json = False,
) -> None:
    """Redraw tables, plots and the report from a folder of results; nothing is run."""
    from ..engine import redraw  # needs the extra `study`
    from .printing import print_outcome

    load_wings()
    import_modules(imports)
    print_outcome(redraw(folder), as_json)
