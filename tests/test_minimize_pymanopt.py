"""Against pymanopt's conjugate gradients and trust regions: as many iterations at most, from the same points."""

from collections.abc import Callable

import geoopt
import numpy as np
import pytest
import torch

from sttp.manifolds import Grassmann, Stiefel, haar_frame
from sttp.optim.deterministic import ConjugateGradient, HestenesStiefel, Method, TrustRegions, minimize

pymanopt = pytest.importorskip("pymanopt", reason="pymanopt is in the extra `test`")
from pymanopt import manifolds, optimizers  # noqa: E402  # after the skip

SHAPES = ((20, 3), (40, 5))
SEEDS = range(4)
TOLERANCE = 1e-7


def make(kind: str, n: int, p: int, seed: int):
    """Return the manifolds, a start, the cost in torch, and cost, gradient and Hessian product in numpy."""
    generator = torch.Generator().manual_seed(seed)
    start = haar_frame(n, p, dtype=torch.float64, generator=generator)
    if kind == "procrustes":
        target = torch.randn(n, p, dtype=torch.float64, generator=generator)
        c = target.numpy()
        numpy_form = (lambda x: -np.sum(c * x), lambda x: -c, lambda x, u: np.zeros_like(u))
        return Stiefel(), manifolds.Stiefel(n, p), start, lambda x: -(target * x).sum(), numpy_form
    rotation = haar_frame(n, n, dtype=torch.float64, generator=generator)
    matrix = (rotation * torch.linspace(2.0, 0.0, n, dtype=torch.float64)) @ rotation.mT
    is_quotient = kind == "eigenspace"
    weights = torch.ones(p, dtype=torch.float64) if is_quotient else torch.arange(p, 0, -1).double() / p
    a, w = matrix.numpy(), weights.numpy()
    numpy_form = (lambda x: -np.sum((a @ x) * x * w), lambda x: -2 * (a @ x) * w, lambda x, u: -2 * (a @ u) * w)
    ours, theirs = (Grassmann(), manifolds.Grassmann(n, p)) if is_quotient else (Stiefel(), manifolds.Stiefel(n, p))
    return ours, theirs, start, lambda x: -(((matrix @ x) * x) * weights).sum(), numpy_form


@pytest.mark.parametrize("kind", ["procrustes", "brockett", "eigenspace"])
@pytest.mark.parametrize(
    ("method", "optimizer"),
    [(TrustRegions(), optimizers.TrustRegions), (ConjugateGradient(HestenesStiefel()), optimizers.ConjugateGradient)],
    ids=["trust-regions", "conjugate-gradient"],
)
def test_iterations(kind: str, method: Method, optimizer: Callable) -> None:
    ours = theirs = 0
    for n, p in SHAPES:
        for seed in SEEDS:
            manifold, their_manifold, start, cost, (value, gradient, hessian) = make(kind, n, p, seed)
            x = geoopt.ManifoldParameter(start.clone(), manifold=manifold)
            result = minimize(lambda x=x, cost=cost: cost(x), [x], method, gradient_tolerance=TOLERANCE)
            function = pymanopt.function.numpy(their_manifold)
            problem = pymanopt.Problem(
                their_manifold,
                function(value),
                euclidean_gradient=function(gradient),
                euclidean_hessian=function(hessian),
            )
            solver = optimizer(verbosity=0, min_gradient_norm=TOLERANCE, min_step_size=0.0)
            their_result = solver.run(problem, initial_point=start.numpy().copy())
            assert result.converged
            assert result.cost <= their_result.cost + 1e-10 * abs(their_result.cost)
            ours += result.iterations
            theirs += their_result.iterations
    assert ours <= 1.2 * theirs, (ours, theirs)
