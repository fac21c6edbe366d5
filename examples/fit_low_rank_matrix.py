"""Find the tensor train of a given matrix by Riemannian Adam: a weight as a point on a product of manifolds.

No network is needed. Frames lie on Stiefel manifolds next to the singular values, which are a plain parameter, and on
Grassmann manifolds elsewhere, where only the space that they span counts. Run: python examples/fit_low_rank_matrix.py
"""

from dataclasses import dataclass

import geoopt
import torch
from torch import nn

from sttp.manifolds import Free, Riemannian, SpectralTensorTrain, TrainPoint, TrainShape, orthogonality_error
from sttp.optim import RiemannianAdam


@dataclass(frozen=True)
class Result:
    """The fit: ‖W − target‖_F / ‖target‖_F, the largest ‖XᵀX − I‖_F of a frame, and what the weight is made of."""

    error: float
    orthogonality: float
    entries: int
    degrees_of_freedom: int


def run(modes: tuple[int, ...] = (4, 4, 4), rank: int = 4, steps: int = 1500, seed: int = 1) -> Result:
    """Fit a random matrix of low tensor-train rank, whose rows and columns are both split into ``modes``."""
    generator = torch.Generator().manual_seed(seed)
    train = SpectralTensorTrain(TrainShape(modes, modes, rank), Riemannian(redundant=False), Free())
    target = train.to_matrix(train.random(dtype=torch.float64, generator=generator))

    start = train.random(dtype=torch.float64, generator=generator)
    frames = [
        geoopt.ManifoldParameter(frame, manifold=chart.manifold)
        for frame, chart in zip(start.coordinates, train.charts, strict=True)
    ]
    spectrum = nn.Parameter(start.spectrum)
    point = TrainPoint(tuple(frames), spectrum, start.signs)

    # Adam's steps are as long as the learning rate says, however small the gradient: an exact fit needs its decay.
    optimizer = RiemannianAdam([*frames, spectrum], lr=0.1, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (train.to_matrix(point) - target).square().sum()
        loss.backward()
        optimizer.step()
        scheduler.step()

    with torch.no_grad():
        error = float((train.to_matrix(point) - target).norm() / target.norm())
        orthogonality = max(float(orthogonality_error(frame)) for frame in frames)
    if not (error < 1e-6 and orthogonality < 1e-12):
        raise RuntimeError(f"the relative error is {error:.1e} and the frames' {orthogonality:.1e}; take more steps")
    return Result(error, orthogonality, target.numel(), train.degrees_of_freedom)


if __name__ == "__main__":
    result = run()
    print(f"A matrix of {result.entries} entries from {result.degrees_of_freedom} degrees of freedom")
    print(f"relative error       {result.error:.1e}")
    print(f"orthogonality error  {result.orthogonality:.1e}")
