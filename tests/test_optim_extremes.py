"""Steps of any length along any finite gradient: frames stay finite, and on their manifold."""

import geoopt
import pytest
import torch
from optimizer_registry import ROWS

from sttp.layers import STTP, Lipschitz, reparameterize
from sttp.manifolds import Grassmann, Stiefel, haar_frame, orthogonality_error
from sttp.optim import RiemannianAdam, d_optimal, divergence

RATES = (1e-30, 1e-3, 0.5, 30.0, 1e6, 1e30)
SIZES = (0.0, 1e-45, 1e-37, 1e-20, 1.0, 1e6, 1e18, 1e30, 3e38)
SHAPES = ((1, 1), (5, 1), (4, 4), (9, 4), (2, 6, 3))
TAKES_ANY_RATE = {row.name for row in ROWS if row.name not in ("manifold-muon", "spel", "smallest")}


def points(manifold, dtype):
    source = torch.Generator().manual_seed(0)
    frames = [haar_frame(*shape, dtype=dtype, generator=source) for shape in SHAPES]
    return [geoopt.ManifoldParameter(frame, manifold=manifold) for frame in frames]


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical"), Grassmann()], ids=str)
@pytest.mark.parametrize("row", [row for row in ROWS if row.name != "smallest"], ids=lambda row: row.name)
def test_frames_stay_finite_and_feasible_at_every_rate_and_gradient(row, manifold):
    for rate in RATES if row.name in TAKES_ANY_RATE else (1e-30, 1e-3, 0.5):
        for size in SIZES:
            source = torch.Generator().manual_seed(1)
            parameters = points(manifold, torch.float32)
            optimizer = row.make(parameters, lr=rate)
            # A gradient of this size, and ordinary ones after it, which its traces must not poison.
            for scale in (size, size, 1.0, 1e-3):
                for parameter in parameters:
                    parameter.grad = torch.randn(parameter.shape, generator=source).clamp(-1, 1) * scale
                optimizer.step()
            for parameter in parameters:
                error = float(orthogonality_error(parameter.detach()).max())
                bound = max(row.feasibility * (1 + 1e-5), 5e-6)  # a region's border is met to rounding
                assert error <= bound, f"lr {rate}, gradient {size}, shape {tuple(parameter.shape)}: {error}"


@pytest.mark.parametrize("penalty", [d_optimal, divergence])
@pytest.mark.parametrize("values", [[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [1e-45, 1e-30, 1.0]])
def test_penalties_are_finite_at_singular_values_of_zero(penalty, values):
    network = reparameterize(torch.nn.Linear(6, 6), STTP(3, spectrum=Lipschitz()))
    spectrum = network.spectral.spectrum
    with torch.no_grad():
        spectrum.copy_(torch.tensor(values))
    loss = penalty(network)
    loss.backward()
    assert loss.isfinite()
    assert spectrum.grad.isfinite().all()
    RiemannianAdam(network.parameters(), lr=0.1).step()
    assert network.spectral.spectrum.isfinite().all()
