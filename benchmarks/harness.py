"""Interleaved measurements: what is compared runs in turns in one process, so that drifts hit all alike."""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "geoopt", "torch-householder", "tensorly-torch", "pymanopt", "numpy", "scipy")


@dataclass(frozen=True)
class Timing:
    """Times of one contestant in milliseconds: median and quartiles."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Comparison:
    """One row of a benchmark: the toolkit's time, the peers' times, and how many times slower each peer is.

    The ratio is the median over the rounds of the ratio within a round, with its quartiles.
    """

    name: str
    ours: Timing
    peers: dict[str, Timing]
    ratios: dict[str, Timing]
    notes: dict[str, float]


def compare(
    name: str,
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int = 11,
    notes: Mapping[str, float] | None = None,
    slow: Sequence[str] = (),
) -> Comparison:
    """Time the toolkit and its peers in turns; those named in ``slow`` take part in the first three rounds only."""
    contestants = {"ours": ours, **peers}
    for function in contestants.values():
        _seconds(function, device)
    times: dict[str, list[float]] = {key: [] for key in contestants}
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            for key, function in contestants.items():
                if key not in slow or turn < 3:
                    times[key].append(1e3 * _seconds(function, device))
    finally:
        gc.enable()
    ratios = {key: _timing([b / a for a, b in zip(times["ours"], times[key], strict=False)]) for key in peers}
    summary = {key: _timing(values) for key, values in times.items()}
    return Comparison(name, summary.pop("ours"), summary, ratios, dict(notes or {}))


def training_step(module: nn.Module, inputs: Tensor) -> Callable[[], None]:
    """Return a forward and a backward of a module, with gradients of its parameters and of its inputs."""
    inputs = inputs.clone().requires_grad_(inputs.is_floating_point())

    def step() -> None:
        module.zero_grad(set_to_none=True)
        inputs.grad = None
        module(inputs).square().mean().backward()

    return step


def kept_bytes(function: Callable[[], Tensor]) -> int:
    """Return how many bytes a forward keeps for its backward, parameters included, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(storages.values())


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def publish(
    benchmark: str, rows: Sequence[Comparison], device: torch.device, as_json: bool, summary: dict[str, float]
) -> None:
    """Print a table, or JSON, and keep the results with machine and versions in ``benchmarks/results``."""
    record = {
        "benchmark": benchmark,
        "machine": machine(device),
        "summary": summary,
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(record, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark}-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        print(text)
        return
    peers = list(dict.fromkeys(key for row in rows for key in row.peers))
    table = Table(title=f"{benchmark} on {record['machine']['processor']}: milliseconds, and times slower than sttp")
    table.add_column("what")
    table.add_column("sttp", justify="right")
    for peer in peers:
        table.add_column(peer, justify="right")
    for row in rows:
        cells = [_cell(row, peer) if peer in row.peers else "" for peer in peers]
        noted = "\n".join(f"{key} {value:.3g}" for key, value in row.notes.items())
        table.add_row(row.name, f"{row.ours.median:.2f} ms" + (f"\n{noted}" if noted else ""), *cells)
    console = Console(width=max(100, Console().width))
    console.print(table)
    for key, value in summary.items():
        console.print(f"{key}: {value:.2f}")


def _cell(row: Comparison, peer: str) -> str:
    ratio = row.ratios[peer]
    return f"{row.peers[peer].median:.2f} ms\n{ratio.median:.1f}× [{ratio.lower:.1f}, {ratio.upper:.1f}]"


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, threads and versions."""
    processor = torch.cuda.get_device_name() if device.type == "cuda" else _processor()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _timing(values: Sequence[float]) -> Timing:
    lower, median, upper = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    )
    return Timing(median, lower, upper)
