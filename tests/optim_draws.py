"""Frames and gradients that are drawn, for the tests of optimizers."""

import geoopt
import torch
from torch import Tensor

from sttp.manifolds import Stiefel, haar_frame


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=generator_of(1000 + seed))


def frame(*shape: int, manifold: geoopt.Manifold | None = None, seed: int = 0, dtype=torch.float64) -> Tensor:
    start = haar_frame(*shape, dtype=dtype, generator=generator_of(seed))
    return geoopt.ManifoldParameter(start, manifold=manifold or Stiefel())


def follow(points: list[Tensor], optimizers: list[torch.optim.Optimizer], steps: int = 6) -> None:
    """Give all points the same random gradients, and step all optimizers."""
    for step in range(steps):
        for point in points:
            point.grad = draw(*point.shape, seed=step, dtype=point.dtype)
        for optimizer in optimizers:
            optimizer.step()
