"""How far 100,000 float32 steps drift from orthonormality, for each optimizer and retraction.

A 128 × 64 frame follows the gradient of a random linear function whose direction changes at every step: nothing
settles, and every step is a long one. Takes about 20 minutes; 5,000 steps when quick.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import geoopt
import torch
from matplotlib.figure import Figure

from sttp.manifolds import METRICS, QR, Cayley, Exponential, Metric, Polar, Retraction, Stiefel, orthogonality_error
from sttp.optim import RiemannianAdam, RiemannianSGD

from .harness import RESULTS, machine

LIMIT = 1e-5
SHAPE = (128, 64)
STEPS, QUICK_STEPS = 100_000, 5_000
POINTS = 200
RETRACTIONS = (QR(), Polar(), Cayley(), Exponential())
OPTIMIZERS: dict[str, Callable[[list[geoopt.ManifoldParameter]], torch.optim.Optimizer]] = {
    "RiemannianAdam": lambda parameters: RiemannianAdam(parameters, lr=1e-2),
    "RiemannianSGD": lambda parameters: RiemannianSGD(parameters, lr=1e-2, momentum=0.9),
}


Curve = list[tuple[int, float]]


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure, print, and keep a plot and the numbers.

    Raises:
        SystemExit: a run went over the limit.
    """
    steps = QUICK_STEPS if quick else STEPS
    runs = [(name, retraction, metric) for name in OPTIMIZERS for retraction in RETRACTIONS for metric in METRICS]
    curves: dict[str, Curve] = {}
    rows: dict[str, dict[str, float]] = {}
    for optimizer, retraction, metric in runs:
        name = f"{optimizer}, {retraction!r}, {metric}"
        begin = time.perf_counter()
        curves[name] = drift(optimizer, retraction, metric, steps, device)
        seconds = time.perf_counter() - begin
        rows[name] = {"worst": max(error for _, error in curves[name]), "milliseconds a step": 1e3 * seconds / steps}
        if not as_json:
            print(f"{name:45s}" + "".join(f"  {key} {value:.2g}" for key, value in rows[name].items()), flush=True)
    record = {"benchmark": "feasibility", "machine": machine(device), "steps": steps, "limit": LIMIT, "rows": rows}
    text = json.dumps(record, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"feasibility-{device.type}.json").write_text(text + "\n", encoding="utf-8")
    plot(curves, RESULTS / f"feasibility-{device.type}.png")
    if as_json:
        print(text)
    over = [name for name, row in rows.items() if not row["worst"] < LIMIT]
    if over:
        raise SystemExit(f"over the limit of {LIMIT:g}: {'; '.join(over)}")


def drift(optimizer: str, retraction: Retraction, metric: Metric, steps: int, device: torch.device) -> Curve:
    """Return pairs (step, ‖XᵀX − I‖_F) along a run."""
    generator = torch.Generator(device).manual_seed(0)
    manifold = Stiefel(metric, retraction)
    start = manifold.random(*SHAPE, dtype=torch.float32, device=device, generator=generator)
    frame = geoopt.ManifoldParameter(start, manifold=manifold)
    stepper = OPTIMIZERS[optimizer]([frame])
    curve = [(0, float(orthogonality_error(frame)))]
    for step in range(1, steps + 1):
        frame.grad = torch.randn(SHAPE, device=device, generator=generator)
        stepper.step()
        if step % max(1, steps // POINTS) == 0 or step == steps:
            curve.append((step, float(orthogonality_error(frame))))
    return curve


def plot(curves: dict[str, Curve], path: Path) -> None:
    """Draw a panel for each optimizer, with a curve for each retraction and metric, and the limit."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    colors = dict(zip(map(repr, RETRACTIONS), ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True))
    styles = dict(zip(METRICS, ("-", ":"), strict=True))
    panels = figure.subplots(1, len(OPTIMIZERS), sharey=True)
    for axes, optimizer in zip(panels, OPTIMIZERS, strict=True):
        for name, curve in curves.items():
            owner, retraction, metric = name.split(", ")
            if owner == optimizer:
                label = f"{retraction.removesuffix('()')}, {metric}"
                axes.plot(*zip(*curve, strict=True), styles[metric], color=colors[retraction], linewidth=1, label=label)
        axes.axhline(LIMIT, color="black", linestyle="--", linewidth=1)
        axes.text(0, LIMIT, "limit", va="bottom")
        axes.set_yscale("log")
        axes.set_ylim(3e-7, 3e-5)
        axes.set_title(optimizer)
        axes.set_xlabel("step")
    panels[0].set_ylabel("‖XᵀX − I‖_F of a 128 × 64 frame, float32")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)
