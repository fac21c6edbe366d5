"""Optimizer steps over the frames of whole networks, against geoopt, one parameter a frame, and torch's Adam."""

from __future__ import annotations

from collections.abc import Callable

import geoopt
import torch
from torch import Tensor, nn

from sttp.manifolds import haar_frame, orthogonality_error
from sttp.manifolds.geometry import Chart
from sttp.optim import RiemannianAdam, RiemannianSGD

from .harness import Comparison, compare, publish
from .network_frames import charts


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    cases = [("WRN-28-10", 64, True), ("WRN-28-10", 64, False)]
    if not quick:
        cases += [("WRN-28-10", 16, True), ("WRN-28-10", 16, False), ("SNGAN-32", 64, True), ("SNGAN-32", 64, False)]
        cases += [("SNGAN-32", 16, True), ("SNGAN-32", 16, False)]
    rows = [_adam(name, rank, redundant, device) for name, rank, redundant in cases]
    rows += [_sgd(name, rank, redundant, device) for name, rank, redundant in cases[:2]]
    publish("step", rows, device, as_json, {})


def _adam(name: str, rank: int, redundant: bool, device: torch.device) -> Comparison:
    shapes = charts(name, rank, redundant)
    ours = _parameters(shapes, device, lambda chart: chart.manifold)
    step = RiemannianAdam(ours, lr=1e-3).step
    peers = {
        "geoopt EuclideanStiefel": _geoopt_adam(shapes, device, geoopt.EuclideanStiefel()),
        "geoopt CanonicalStiefel": _geoopt_adam(shapes, device, geoopt.CanonicalStiefel()),
        "torch Adam, plain": torch.optim.Adam(_plain(shapes, device), lr=1e-3).step,
    }
    kind = "redundant" if redundant else "gauge-fixed"
    row = compare(f"Adam, {name}, rank {rank}, {kind}, {len(shapes)} frames", step, peers, device)
    row.notes["worst |XᵀX−I|"] = max(float(orthogonality_error(parameter)) for parameter in ours)
    return row


def _sgd(name: str, rank: int, redundant: bool, device: torch.device) -> Comparison:
    shapes = charts(name, rank, redundant)
    ours = _parameters(shapes, device, lambda chart: chart.manifold)
    theirs = _parameters(shapes, device, lambda chart: geoopt.EuclideanStiefel())
    options = {"lr": 1e-2, "momentum": 0.9}
    peers: dict[str, Callable[[], object]] = {
        "geoopt EuclideanStiefel": geoopt.optim.RiemannianSGD(theirs, **options).step,
        "torch SGD, plain": torch.optim.SGD(_plain(shapes, device), **options).step,
    }
    kind = "redundant" if redundant else "gauge-fixed"
    step = RiemannianSGD(ours, **options).step
    row = compare(f"SGD, {name}, rank {rank}, {kind}, {len(shapes)} frames", step, peers, device)
    row.notes["worst |XᵀX−I|"] = max(float(orthogonality_error(parameter)) for parameter in ours)
    return row


def _geoopt_adam(shapes: list[Chart], device: torch.device, manifold: geoopt.Manifold) -> Callable[[], object]:
    return geoopt.optim.RiemannianAdam(_parameters(shapes, device, lambda _: manifold), lr=1e-3).step


def _parameters(
    shapes: list[Chart], device: torch.device, manifold: Callable[[Chart], geoopt.Manifold]
) -> list[geoopt.ManifoldParameter]:
    """Return Haar frames with random gradients, the same for every contestant."""
    generator = torch.Generator().manual_seed(0)
    parameters = []
    for chart in shapes:
        frame = haar_frame(*chart.shape, generator=generator).to(device)
        parameter = geoopt.ManifoldParameter(frame, manifold=manifold(chart))
        parameter.grad = _gradient(frame, generator)
        parameters.append(parameter)
    return parameters


def _plain(shapes: list[Chart], device: torch.device) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(haar_frame(*chart.shape, generator=generator).to(device)) for chart in shapes]
    for parameter in parameters:
        parameter.grad = _gradient(parameter, generator)
    return parameters


def _gradient(frame: Tensor, generator: torch.Generator) -> Tensor:
    return 1e-2 * torch.randn(frame.shape, generator=generator).to(frame.device)
