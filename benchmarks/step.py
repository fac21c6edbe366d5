"""Optimizer steps over the frames of whole networks, against geoopt, one parameter a frame, and torch's Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import geoopt
import torch
from torch import Tensor, nn

from sttp.manifolds import Chart, haar_frame, orthogonality_error
from sttp.optim import (
    POGO,
    SPEL,
    CayleyAdam,
    CayleySGD,
    Landing,
    ManifoldMuon,
    MomentumStiefelAdam,
    MomentumStiefelSGD,
    RandomSubmanifoldDescent,
    Retracted,
    RiemannianAdam,
    RiemannianSGD,
)

from .harness import Comparison, compare, publish
from .network_frames import charts

# What is compared with RiemannianAdam on the same frames, at small steps.
OTHERS: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    "RiemannianSGD": lambda frames: RiemannianSGD(frames, lr=1e-3, momentum=0.9),
    "CayleySGD": lambda frames: CayleySGD(frames, lr=1e-3, momentum=0.9),
    "CayleyAdam": lambda frames: CayleyAdam(frames, lr=1e-3),
    "Landing": lambda frames: Landing(frames, lr=1e-3),
    "POGO": lambda frames: POGO(frames, lr=1e-3),
    "RandomSubmanifoldDescent": lambda frames: RandomSubmanifoldDescent(frames, lr=1e-3),
    "MomentumStiefelSGD": lambda frames: MomentumStiefelSGD(frames, lr=1e-3),
    "MomentumStiefelAdam": lambda frames: MomentumStiefelAdam(frames, lr=1e-3),
    "ManifoldMuon": lambda frames: ManifoldMuon(frames, lr=1e-3),
    "SPEL": lambda frames: SPEL(frames, lr=1e-3),
    "Retracted(AdamW)": lambda frames: Retracted(torch.optim.AdamW, frames, lr=1e-3),
}


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    cases = [("WRN-28-10", 64, True), ("WRN-28-10", 64, False)]
    if not quick:
        cases += [("WRN-28-10", 16, True), ("WRN-28-10", 16, False), ("SNGAN-32", 64, True), ("SNGAN-32", 64, False)]
        cases += [("SNGAN-32", 16, True), ("SNGAN-32", 16, False)]
    rows = [_adam(name, rank, redundant, device) for name, rank, redundant in cases]
    rows += [_sgd(name, rank, redundant, device) for name, rank, redundant in cases[:2]]
    rows += [_other("WRN-28-10", 64, name, device) for name in OTHERS]
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
    if not redundant:
        # geoopt has no Grassmann manifold and no gauge: it carries all frames of the same network.
        whole = charts(name, rank, redundant=True)
        peers["geoopt CanonicalStiefel, all frames"] = _geoopt_adam(whole, device, geoopt.CanonicalStiefel())
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


def _other(name: str, rank: int, optimizer: str, device: torch.device) -> Comparison:
    """Time another optimizer; its peers are RiemannianAdam and geoopt's."""
    shapes = charts(name, rank, redundant=True)
    ours = _parameters(shapes, device, lambda chart: chart.manifold)
    peers = {
        "RiemannianAdam": RiemannianAdam(_parameters(shapes, device, lambda chart: chart.manifold), lr=1e-3).step,
        "geoopt EuclideanStiefel": _geoopt_adam(shapes, device, geoopt.EuclideanStiefel()),
    }
    row = compare(f"{optimizer}, {name}, rank {rank}", OTHERS[optimizer](ours).step, peers, device, rounds=5)
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
