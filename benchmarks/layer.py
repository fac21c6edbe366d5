"""Training steps of single layers: against dense torch.nn, free low-rank factors, and other public layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sttp.layers import STTP, Conv2d, Embedding, Householder, Linear, Riemannian, SpectralLayer
from sttp.manifolds import Geometry

from .harness import Comparison, compare, publish, training_step

GEOMETRIES: tuple[Geometry, ...] = (
    Householder(redundant=False),
    Riemannian(redundant=False),
    Riemannian(redundant=True),
)


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    rows = []
    for geometry in GEOMETRIES:
        rows.append(_convolution(geometry, device))
        rows.append(_linear(4096, geometry, device, {} if quick else _tensorly(device)))
    if not quick:
        # Larger ones take torch's own parametrization minutes.
        orthogonal = nn.utils.parametrizations.orthogonal(nn.Linear(1024, 1024, device=device))
        rows.append(_linear(1024, GEOMETRIES[0], device, {"orthogonal": orthogonal}))
        rows.append(_embedding(GEOMETRIES[0], device))
    publish("layer", rows, device, as_json, {})


def _convolution(geometry: Geometry, device: torch.device) -> Comparison:
    image = torch.randn(64, 128, 16, 16, device=device)
    spectral = Conv2d(128, 128, 3, padding=1, spec=STTP(rank=16, frames=geometry), device=device)
    contestants: dict[str, nn.Module] = {
        "dense": nn.Conv2d(128, 128, 3, padding=1, device=device),
        "free factors": _free_convolution(16, device),
        "orthogonal": nn.utils.parametrizations.orthogonal(nn.Conv2d(128, 128, 3, padding=1, device=device)),
    }
    name = f"conv 128→128 3×3, batch 64, 16×16, rank 16, {geometry.name}"
    return _compared(name, spectral, contestants, image, 64 * 16 * 16)


def _linear(width: int, geometry: Geometry, device: torch.device, others: dict[str, nn.Module]) -> Comparison:
    vectors = torch.randn(64, width, device=device)
    spectral, factors = (
        Linear(width, width, spec=STTP(rank=64, frames=geometry, forward=forward), device=device)
        for forward in ("auto", "factors")
    )
    first = nn.Linear(width, 64, bias=False, device=device)
    contestants: dict[str, nn.Module] = {
        "dense": nn.Linear(width, width, device=device),
        "free factors": nn.Sequential(first, nn.Linear(64, width, device=device)),
        'sttp, forward="factors"': factors,
        **others,
    }
    name = f"linear {width}→{width}, batch 64, rank 64, {geometry.name}"
    return _compared(name, spectral, contestants, vectors, 64)


def _embedding(geometry: Geometry, device: torch.device) -> Comparison:
    indices = torch.randint(65536, (64,), device=device)
    spectral = Embedding(65536, 512, spec=STTP(rank=32, frames=geometry), device=device)
    first = nn.Embedding(65536, 32, device=device)
    contestants: dict[str, nn.Module] = {
        "dense": nn.Embedding(65536, 512, device=device),
        "free factors": nn.Sequential(first, nn.Linear(32, 512, bias=False, device=device)),
    }
    return _compared(f"embedding 65536×512, 64 rows, rank 32, {geometry.name}", spectral, contestants, indices, 64)


def _compared(
    name: str, spectral: SpectralLayer, contestants: dict[str, nn.Module], inputs: Tensor, number: int
) -> Comparison:
    """Compare training steps, and note the work of the product that the layer takes, without that of its frames."""
    route = spectral.route(number)
    notes = {
        f"MFLOP of {route.product}": 3e-6 * (route.fixed.operations + number * route.each.operations),
        "MB moved": 3e-6 * 4 * (route.fixed.entries + number * route.each.entries),
    }
    peers = {key: training_step(module, inputs) for key, module in contestants.items()}
    ours = training_step(spectral, inputs)
    return compare(name, ours, peers, inputs.device, notes=notes, slow=("orthogonal", "tensorly-torch"))


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
