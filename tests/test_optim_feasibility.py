"""Frames stay orthonormal in float32 over many steps: ‖XᵀX − I‖_F below 1e-5, with no projection in between."""

import geoopt
import pytest
import torch
from torch import Tensor

from sttp.manifolds import QR, Cayley, Exponential, Grassmann, Polar, Retraction, Stiefel, haar_frame
from sttp.optim import RiemannianAdam, RiemannianSGD

# What a step's own rounding leaves. Errors that add up, as in a Cayley transform without polish, pass it in 200 steps.
ROUNDING = 1e-6
RETRACTIONS = [QR(), Polar(), Cayley(), Exponential()]


def feasibility(frame: Tensor) -> float:
    gram = frame.detach().double().mT @ frame.detach().double()
    return float(torch.linalg.matrix_norm(gram - torch.eye(gram.shape[-1], dtype=gram.dtype)).max())


def drift(manifold: geoopt.Manifold, kind, steps: int, batch: int = 4, shape=(32, 8), **options) -> float:
    """Return ‖XᵀX − I‖_F in float32 after many steps along gradients that never come to rest."""
    generator = torch.Generator().manual_seed(0)
    points = [
        geoopt.ManifoldParameter(haar_frame(*shape, dtype=torch.float32, generator=generator), manifold=manifold)
        for _ in range(batch)
    ]
    optimizer = kind(points, **options)
    for point in points:
        point.grad = torch.empty_like(point)
    for _ in range(steps):
        for point in points:
            point.grad.normal_(generator=generator)
        optimizer.step()
    return max(feasibility(point) for point in points)


def test_ten_thousand_steps_of_adam_in_float32_keep_frames_orthonormal():
    assert drift(Stiefel(), RiemannianAdam, steps=10_000, lr=1e-2) < 1e-5


@pytest.mark.parametrize("retraction", RETRACTIONS, ids=str)
@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
def test_all_retractions_keep_frames_orthonormal(retraction: Retraction, metric):
    assert drift(Stiefel(metric, retraction), RiemannianAdam, steps=500, lr=1e-2) < ROUNDING
    assert drift(Grassmann(retraction), RiemannianSGD, steps=200, lr=1e-2, momentum=0.9) < ROUNDING
    wide = {"batch": 1, "shape": (128, 64), "lr": 1e-2}
    assert drift(Stiefel(metric, retraction), RiemannianAdam, steps=100, **wide) < 3 * ROUNDING


@pytest.mark.parametrize("retraction", RETRACTIONS, ids=str)
def test_a_long_step_keeps_a_frame_orthonormal(retraction: Retraction):
    assert drift(Stiefel(retraction=retraction), RiemannianAdam, steps=20, lr=1.0) < ROUNDING
