"""Problems whose answer numpy knows, and the methods that all tests of full-batch minimization run."""

from collections.abc import Callable

import geoopt
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sttp.manifolds import Stiefel, haar_frame
from sttp.optim.deterministic import (
    LBFGS,
    ConjugateGradient,
    FletcherReeves,
    HagerZhang,
    PolakRibiere,
    SteepestDescent,
    TrustRegions,
)

METHODS = {
    "trust-regions": TrustRegions(),
    "lbfgs": LBFGS(),
    "hestenes-stiefel": ConjugateGradient(),
    "polak-ribiere": ConjugateGradient(PolakRibiere()),
    "polak-ribiere-signed": ConjugateGradient(PolakRibiere(nonnegative=False)),
    "fletcher-reeves": ConjugateGradient(FletcherReeves()),
    "hager-zhang": ConjugateGradient(HagerZhang()),
    "steepest-descent": SteepestDescent(),
}
FAST = ("trust-regions", "lbfgs")
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def frame(manifold: geoopt.Manifold, *shape: int, seed: int = 0, dtype=torch.float64) -> geoopt.ManifoldParameter:
    start = haar_frame(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return geoopt.ManifoldParameter(start.to(dtype), manifold=manifold)


def procrustes(n: int, p: int, seed: int, manifold: geoopt.Manifold | None = None):
    """Minimize −tr(CᵀX): the least value is −Σσ(C)."""
    target = draw(n, p, seed=seed) / n**0.5
    x = frame(manifold or Stiefel(), n, p, seed=seed + 100)
    return x, lambda: -(target * x).sum(), -np.linalg.svd(target.numpy(), compute_uv=False).sum()


def brockett(n: int, p: int, seed: int, manifold: geoopt.Manifold | None = None):
    """Minimize −tr(XᵀAXN), N = diag(p, …, 1)/p: the least value takes the largest eigenvalues in their order."""
    rotation = haar_frame(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    matrix = (rotation * torch.linspace(2.0, 0.0, n, dtype=torch.float64)) @ rotation.mT
    weights = torch.arange(p, 0, -1, dtype=torch.float64) / p
    x = frame(manifold or Stiefel(), n, p, seed=seed + 100)
    values = np.linalg.eigvalsh(matrix.numpy())[::-1][:p]
    return x, lambda: -(((matrix @ x) * x) * weights).sum(), -(values * weights.numpy()).sum()


PROBLEMS = {"procrustes": procrustes, "brockett": brockett}


def rosenbrock() -> tuple[nn.Parameter, Callable[[], Tensor]]:
    x = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    return x, lambda: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
