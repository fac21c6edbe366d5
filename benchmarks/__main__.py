"""The benchmarks' command line: ``python -m benchmarks NAME``."""

from __future__ import annotations

import importlib
from enum import StrEnum
from typing import Annotated

import torch
import typer

from sttp.optim import keep_freed_memory


class Benchmark(StrEnum):
    """What can be measured."""

    frames = "frames"
    step = "step"
    layer = "layer"
    network = "network"
    scaling = "scaling"
    feasibility = "feasibility"
    extremes = "extremes"
    bad_input = "bad_input"
    minimize = "minimize"
    kills = "kills"
    fits = "fits"
    minilm = "minilm"
    adapters = "adapters"


def main(
    benchmark: Annotated[Benchmark, typer.Argument(help="What to measure.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quick: Annotated[bool, typer.Option(help="Fewer and smaller cases.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 for all cores.")] = 0,
    model: Annotated[str | None, typer.Option(help="Of minilm alone: the folder of the encoder.")] = None,
    data: Annotated[str | None, typer.Option(help="Of minilm alone: the folder of the glosses.")] = None,
) -> None:
    """Measure the toolkit and its peers in turns in one run, and keep the figures in benchmarks/results."""
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    keep_freed_memory()
    needed = {"model": model, "data": data} if benchmark == Benchmark.minilm else {}
    if missing := [f"--{name}" for name, value in needed.items() if value is None]:
        raise typer.BadParameter(f"minilm needs {' and '.join(missing)}, a folder each")
    importlib.import_module(f".{benchmark.value}", __package__).run(torch.device(device), json, quick, **needed)


typer.run(main)
