"""Training steps of single layers: against dense torch.nn, free low-rank factors, and other public layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sttp.layers import STTP, Conv2d, Householder, Linear, Riemannian

from .harness import compare, publish


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    rows = []
    image = torch.randn(64, 128, 16, 16, device=device)
    for geometry in (Householder(redundant=False), Riemannian(redundant=True)):
        spec = STTP(rank=16, frames=geometry)
        spectral = Conv2d(128, 128, 3, padding=1, spec=spec, device=device)
        contestants: dict[str, nn.Module] = {
            "dense": nn.Conv2d(128, 128, 3, padding=1, device=device),
            "free factors": _free_convolution(16, device),
            "orthogonal": nn.utils.parametrizations.orthogonal(nn.Conv2d(128, 128, 3, padding=1, device=device)),
        }
        peers = {name: _training_step(module, image) for name, module in contestants.items()}
        name = f"conv 128→128 3×3, batch 64, 16×16, rank 16, {geometry.name}"
        rows.append(compare(name, _training_step(spectral, image), peers, device))
    vector = torch.randn(64, 4096, device=device)
    for geometry in (Householder(redundant=False), Riemannian(redundant=True)):
        linear = Linear(4096, 4096, spec=STTP(rank=64, frames=geometry), device=device)
        contestants = {
            "dense": nn.Linear(4096, 4096, device=device),
            "free factors": nn.Sequential(
                nn.Linear(4096, 64, bias=False, device=device), nn.Linear(64, 4096, device=device)
            ),
            **({} if quick else _tensorly(device)),
        }
        peers = {name: _training_step(module, vector) for name, module in contestants.items()}
        name = f"linear 4096→4096, batch 64, rank 64, {geometry.name}"
        rows.append(compare(name, _training_step(linear, vector), peers, device))
    publish("layer", rows, device, as_json, {})


def _free_convolution(rank: int, device: torch.device) -> nn.Module:
    first = nn.Conv2d(128, rank, 3, padding=1, bias=False, device=device)
    return nn.Sequential(first, nn.Conv2d(rank, 128, 1, device=device))


def _tensorly(device: torch.device) -> dict[str, nn.Module]:
    """Return tensorly-torch's tensor-train layer of the same size, where the package is installed."""
    try:
        from tltorch import FactorizedLinear
    except ImportError:
        return {}
    modes = (16, 16, 16)
    layer = FactorizedLinear(modes, modes, factorization="blocktt", rank=64, device=device)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=1e-2)
    return {"tensorly-torch": layer}


def _training_step(module: nn.Module, inputs: Tensor) -> Callable[[], None]:
    inputs = inputs.clone().requires_grad_()

    def step() -> None:
        module.zero_grad(set_to_none=True)
        inputs.grad = None
        module(inputs).square().mean().backward()

    return step
