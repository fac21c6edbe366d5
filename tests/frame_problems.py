"""Problems on frames whose answer scipy knows, for many starts at once."""

from collections.abc import Callable
from dataclasses import dataclass

import geoopt
import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from sttp.manifolds import haar_frame


@dataclass(frozen=True)
class Problem:
    """A cost on frames.

    Attributes:
        cost: of frames ``(..., n, p)``, of shape ``(...)``.
        optimum: its smallest value.
        starts: frames ``(k, n, p)``.
    """

    cost: Callable[[Tensor], Tensor]
    optimum: float
    starts: Tensor

    def gaps(self, points: list[Tensor]) -> Tensor:
        """Return (f(X) − f*) / |f*| at each point, whose frame is first replaced by the nearest one."""
        left, _, right = torch.linalg.svd(torch.stack([point.detach() for point in points]), full_matrices=False)
        return (self.cost(left @ right) - self.optimum) / abs(self.optimum)

    def parameters(self, manifold: geoopt.Manifold) -> list[geoopt.ManifoldParameter]:
        """Return the starts, each as a parameter of its own."""
        return [geoopt.ManifoldParameter(start.clone(), manifold=manifold) for start in self.starts]

    def batch(self, manifold: geoopt.Manifold) -> list[geoopt.ManifoldParameter]:
        """Return the starts as one parameter."""
        return [geoopt.ManifoldParameter(self.starts.clone(), manifold=manifold)]


def procrustes(rows: int, columns: int, starts: int, seed: int = 0) -> Problem:
    """Return −tr(CᵀX), singular values of C in [1, 3]; for p = n the starts are in the optimum's component of O(n)."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (haar_frame(n, columns, dtype=torch.float64, generator=generator) for n in (rows, columns))
    target = left * torch.linspace(1, 3, columns, dtype=torch.float64) @ right.mT
    frames = haar_frame(starts, rows, columns, dtype=torch.float64, generator=generator)
    if rows == columns:
        frames[..., 0] *= torch.sign(torch.linalg.det(frames) * torch.linalg.det(target)).unsqueeze(-1)
    optimum = -scipy.linalg.svdvals(target.numpy()).sum()
    return Problem(lambda point: -(target * point).sum(dim=(-2, -1)), float(optimum), frames)


def brockett(rows: int, columns: int, starts: int, weighted: bool = True, seed: int = 0) -> Problem:
    """Return −½tr(XᵀAXN), A of eigenvalues in [0, 1], N = diag(p, …, 1), or I, which all frames of a subspace share."""
    generator = torch.Generator().manual_seed(seed)
    basis = haar_frame(rows, rows, dtype=torch.float64, generator=generator)
    matrix = basis * torch.linspace(0, 1, rows, dtype=torch.float64) @ basis.mT
    weights = (
        torch.arange(columns, 0, -1, dtype=torch.float64) if weighted else torch.ones(columns, dtype=torch.float64)
    )
    largest = np.sort(scipy.linalg.eigvalsh(matrix.numpy()))[::-1][:columns]
    optimum = -(largest * weights.numpy()).sum() / 2
    frames = haar_frame(starts, rows, columns, dtype=torch.float64, generator=generator)
    return Problem(lambda point: -(point * (matrix @ point) * weights).sum(dim=(-2, -1)) / 2, float(optimum), frames)


def minimize(
    problem: Problem, points: list[geoopt.ManifoldParameter], optimizer: torch.optim.Optimizer, steps: int, decays: bool
) -> None:
    """Run an optimizer on all points; with ``decays`` its learning rate falls exponentially, to 1e-4 of itself."""
    decay = 10 ** (-4 / steps) if decays else 1.0
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay)
    for _ in range(steps):
        optimizer.zero_grad()
        problem.cost(torch.stack(points)).sum().backward()
        optimizer.step()
        scheduler.step()
