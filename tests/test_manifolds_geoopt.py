"""geoopt's samplers, optimizers and line search on our manifolds."""

import geoopt
import numpy as np
import pytest
import torch
from geoopt.samplers import RHMC, RSGLD, SGRHMC

from sttp.manifolds import QR, Cayley, Exponential, Grassmann, Stiefel, Transport, orthogonality_error

ROTATIONS = [Cayley(transport=Transport.ISOMETRIC), Exponential(transport=Transport.ISOMETRIC)]
REVERSIBLE = [
    manifold
    for rotation in ROTATIONS
    for manifold in (Stiefel("euclidean", rotation), Stiefel("canonical", rotation), Grassmann(rotation))
]
KINDS = [Stiefel(), Stiefel("canonical", Cayley()), Grassmann()]
SAMPLERS = {
    "RHMC": lambda point: RHMC([point], epsilon=1e-2, n_steps=3),
    "RSGLD": lambda point: RSGLD([point], epsilon=1e-3),
    "SGRHMC": lambda point: SGRHMC([point], epsilon=1e-2, n_steps=3, alpha=0.5),
}


def start(manifold, *shape):
    generator = torch.Generator().manual_seed(0)
    return manifold.random(*shape, dtype=torch.float64, generator=generator), generator


def parameter(manifold, *shape):
    return geoopt.ManifoldParameter(start(manifold, *shape)[0], manifold=manifold)


def quadratic(point, generator):
    matrix = torch.randn(point.shape[-2], point.shape[-2], dtype=torch.float64, generator=generator)
    return lambda: (point * (matrix @ matrix.mT @ point)).sum()


@pytest.mark.parametrize("manifold", REVERSIBLE, ids=str)
def test_a_step_and_the_step_back_return_to_the_start(manifold):
    assert manifold.reversible
    point, generator = start(manifold, 3, 7, 3)
    step = manifold.proju(point, torch.randn(3, 7, 3, dtype=torch.float64, generator=generator))
    end, moved = manifold.retr_transp(point, step, step)
    back, returned = manifold.retr_transp(end, -moved, -moved)
    assert (end - point).abs().max() > 0.1
    assert (back - point).abs().max() < 1e-13
    assert (returned + step).abs().max() < 1e-13


@pytest.mark.parametrize("transport", [Transport.PROJECTION, Transport.DIFFERENTIAL])
@pytest.mark.parametrize("kind", [QR, Cayley, Exponential])
def test_a_transport_that_does_not_return_is_not_called_reversible(kind, transport):
    assert not Stiefel(retraction=kind(transport=transport)).reversible
    with pytest.raises(ValueError, match="reversible"):
        RHMC([parameter(Stiefel(retraction=kind(transport=transport)), 5, 2)])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("manifold", REVERSIBLE, ids=str)
def test_samplers_move_and_stay_feasible(manifold, sampler):
    np.random.seed(0)  # noqa: NPY002 # geoopt draws whether a proposal is accepted from the old generator
    torch.manual_seed(0)
    point = parameter(manifold, 7, 3)
    before = point.detach().clone()
    energy = quadratic(point, torch.Generator().manual_seed(1))
    steps = SAMPLERS[sampler](point)
    for _ in range(5):
        steps.step(lambda: -energy())
    assert (point - before).abs().max() > 1e-3
    assert orthogonality_error(point.detach()).max() < 1e-12


@pytest.mark.parametrize("manifold", KINDS, ids=str)
def test_adam_of_geoopt_stabilizes(manifold):
    point = parameter(manifold, 7, 3)
    energy = quadratic(point, torch.Generator().manual_seed(1))
    optimizer = geoopt.optim.RiemannianAdam([point], lr=1e-2, stabilize=2)
    first = energy().item()
    with torch.no_grad():
        point.mul_(1 + 1e-4)
    for _ in range(2):
        optimizer.zero_grad()
        energy().backward()
        optimizer.step()
    momentum = optimizer.state[point]["exp_avg"]
    assert orthogonality_error(point.detach()).max() < 1e-12
    assert (manifold.proju(point, momentum) - momentum).abs().max() < 1e-12
    assert energy() < first


@pytest.mark.parametrize("manifold", KINDS, ids=str)
def test_random_naive_draws_points_of_the_manifold(manifold):
    for point in (manifold.random_naive(4, 6, 2, dtype=torch.float64), manifold.random_naive((4, 6, 2))):
        assert isinstance(point, geoopt.ManifoldTensor)
        assert point.manifold == manifold
        assert point.shape == (4, 6, 2)
        assert orthogonality_error(point.as_subclass(torch.Tensor)).max() < 1e-6


@pytest.mark.parametrize("transport", list(Transport))
def test_which_transport_of_cayley_is_the_derivative_of_the_curve(transport):
    manifold = Stiefel("canonical", Cayley(transport=transport))
    point, generator = start(manifold, 7, 3)
    point = point.as_subclass(torch.Tensor)
    step = manifold.proju(point, torch.randn(7, 3, dtype=torch.float64, generator=generator))
    moved = manifold.transp_follow_retr(point, step, step)
    h = 1e-6
    derivative = (manifold.retr(point, (1 + h) * step) - manifold.retr(point, (1 - h) * step)) / (2 * h)
    error = (moved - derivative).abs().max()
    assert (error < 1e-8) == (transport is Transport.DIFFERENTIAL)
