"""Steps of any length along any finite gradient: frames stay finite, and on their manifold."""

import geoopt
import pytest
import torch
from optimizer_registry import ROWS

from sttp.layers import STTP, Lipschitz, reparameterize
from sttp.manifolds import Grassmann, Stiefel, haar_frame, orthogonality_error
from sttp.optim import RiemannianAdam, d_optimal, divergence

RATES = (1e-30, 0.5, 1e6, 1e30)
SIZES = (0.0, 1e-45, 1e-37, 1e-20, 1.0, 1e6, 1e18, 1e30, 3e38)
SHAPES = ((1, 1), (5, 1), (4, 4), (9, 4), (2, 6, 3))
TAKES_ANY_RATE = {row.name for row in ROWS if row.name not in ("manifold-muon", "spel")}


def points(manifold, dtype, sizes):
    """Return for each shape frames of one optimizer, which must not know of each other, by the size of gradients."""
    source = torch.Generator().manual_seed(0)
    frames = [haar_frame(*shape, dtype=dtype, generator=source) for shape in SHAPES]
    return [{size: geoopt.ManifoldParameter(frame.clone(), manifold=manifold) for size in sizes} for frame in frames]


def check(parameters, bound, rate):
    for of_shape in parameters:
        for size, parameter in of_shape.items():
            error = float(orthogonality_error(parameter.detach()).max())
            assert error <= bound, f"lr {rate}, gradient {size}, shape {tuple(parameter.shape)}: {error}"


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical"), Grassmann()], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_frames_stay_finite_and_feasible_at_every_rate_and_gradient(row, manifold):
    for rate in RATES if row.name in TAKES_ANY_RATE else (1e-30, 0.5):
        source = torch.Generator().manual_seed(1)
        parameters = points(manifold, torch.float32, SIZES)
        optimizer = row.make([one for of_shape in parameters for one in of_shape.values()], lr=rate)
        # A gradient of its size, and ordinary ones after it, which its traces must not poison.
        for scale in (None, None, 1.0, 1e-3):
            for shape, of_shape in zip(SHAPES, parameters, strict=True):
                gradient = torch.randn(shape, generator=source).clamp(-1, 1)
                for size, parameter in of_shape.items():
                    parameter.grad = gradient * (size if scale is None else scale)
            optimizer.step()
        # A region's border is met to rounding.
        check(parameters, max(row.feasibility * (1 + 1e-5), 5e-6), rate)


WITHOUT_MEMORY = {"momentum": 0.0, "betas": (0.0, 0.0), "eps": 0.0}


@pytest.mark.parametrize("options", [{}, WITHOUT_MEMORY, {"momentum": 1.0, "betas": (0.9, 0.0)}], ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_so_do_those_of_float64_with_and_without_moments_along_normal_gradients(row, options):
    """Along normal gradients a Riemannian one is nothing but rounding, which division by a second moment enlarges."""
    known = row.make([torch.nn.Parameter(torch.eye(2))]).param_groups[0]
    options = {name: value for name, value in options.items() if name in known}
    for rate in (1e-3, 1.0, 1e30) if row.name in TAKES_ANY_RATE else (1e-3, 0.5):
        source = torch.Generator().manual_seed(2)
        parameters = points(Stiefel(), torch.float64, (1e-320, 1.0, 1e20, 1e154, 1e300))
        optimizer = row.make([one for of_shape in parameters for one in of_shape.values()], lr=rate, **options)
        for step in range(4):
            for shape, of_shape in zip(SHAPES, parameters, strict=True):
                gradient = torch.rand(shape, dtype=torch.float64, generator=source) - 0.5
                for size, parameter in of_shape.items():
                    frame = parameter.detach()
                    along = frame @ (frame.mT @ gradient) if step % 2 else gradient
                    parameter.grad = along * (1e-3 if step == 2 else size)
            optimizer.step()
        check(parameters, row.feasibility * (1 + 1e-5) if row.feasibility > 1e-3 else 1e-11, rate)
        for state in optimizer.state.values():
            assert all(value.isfinite().all() for value in state.values() if isinstance(value, torch.Tensor))


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
