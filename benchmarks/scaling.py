"""How training steps of layers grow with the size of the weight, its rank and the number of layers.

All sizes of a sweep are timed in turns. An exponent is the slope of log time against log size by least squares over
the larger half of the sizes, where the fixed costs of a step show least.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import linear_regression

import torch
from matplotlib.figure import Figure
from torch import nn

from sttp.layers import STTP, Householder, Riemannian, reparameterize
from sttp.manifolds import Geometry

from .harness import RESULTS, compare, machine, training_step

BATCH = 64
GEOMETRIES: dict[str, Geometry] = {
    "householder-reduced": Householder(redundant=False),
    "stiefel": Riemannian(redundant=True),
}
COLORS = {"householder-reduced": "#0072b2", "stiefel": "#d55e00", "dense": "#333333"}

# What grows, the sizes, and width, rank and number of layers for each.
SWEEPS: dict[str, tuple[Sequence[int], Callable[[int], tuple[int, int, int]]]] = {
    "width d (rank 32)": ((256, 512, 1024, 2048, 4096), lambda size: (size, 32, 1)),
    "rank r (width 2048)": ((4, 8, 16, 32, 64, 128), lambda size: (2048, size, 1)),
    "layers (width 512, rank 16)": ((1, 2, 4, 8, 16, 32), lambda size: (512, 16, size)),
}
Curves = dict[str, dict[str, list[tuple[int, float]]]]


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure, print the exponents, and keep a plot and the numbers."""
    curves = {
        sweep: _times([(size, *setting(size)) for size in (sizes[:3] if quick else sizes)], device)
        for sweep, (sizes, setting) in SWEEPS.items()
    }
    exponents = {s: {name: exponent(curve) for name, curve in named.items()} for s, named in curves.items()}
    record = {"benchmark": "scaling", "machine": machine(device), "exponents": exponents, "milliseconds": curves}
    text = json.dumps(record, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"scaling-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    plot(curves, exponents, RESULTS / f"scaling-{device.type}.png")
    if as_json:
        print(text)
        return
    for sweep, named in exponents.items():
        print(f"{sweep:30s}" + "".join(f"  {name} {value:.2f}" for name, value in named.items()))


def exponent(curve: Sequence[tuple[int, float]]) -> float:
    """Return the slope of log time against log size over the larger half of the sizes."""
    upper = curve[len(curve) // 2 - (len(curve) % 2 == 0) :]
    return linear_regression([math.log(size) for size, _ in upper], [math.log(time) for _, time in upper]).slope


def _times(settings: Sequence[tuple[int, int, int, int]], device: torch.device) -> dict[str, list[tuple[int, float]]]:
    """Return milliseconds a training step of chains of layers, in each geometry and dense, all sizes in turns."""
    steps: dict[tuple[str, int], Callable[[], None]] = {}
    for size, width, rank, number in settings:
        vectors = torch.randn(BATCH, width, device=device)
        chains = {
            name: nn.Sequential(*(nn.Linear(width, width, device=device) for _ in range(number)))
            for name in (*GEOMETRIES, "dense")
        }
        for name, geometry in GEOMETRIES.items():
            reparameterize(chains[name], STTP(rank=rank, frames=geometry))
        steps |= {(name, size): training_step(chain, vectors) for name, chain in chains.items()}
    contestants = {f"{name} {size}": step for (name, size), step in steps.items()}
    row = compare("", lambda: None, contestants, device)
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, size in steps:
        curves.setdefault(name, []).append((size, row.peers[f"{name} {size}"].median))
    return curves


def plot(curves: Curves, exponents: dict[str, dict[str, float]], path: Path) -> None:
    """Draw a panel for each sweep, with a curve for each contestant and its exponent."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axes, (sweep, named) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        for name, curve in named.items():
            label = f"{name}: {exponents[sweep][name]:.2f}"
            axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, color=COLORS[name], label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(sweep)
        sizes = [size for size, _ in next(iter(named.values()))]
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.grid(alpha=0.3)
        axes.legend(title="exponent", fontsize=8, title_fontsize=8)
    figure.axes[0].set_ylabel(f"ms a training step, batch {BATCH}")
    figure.savefig(path, dpi=120)
