"""Steps of the optimizers keep frames orthonormal in float32."""

import geoopt
import pytest
import torch

from sttp.manifolds import QR, Cayley, Exponential, Polar, Stiefel, orthogonality_error
from sttp.optim import RiemannianAdam, RiemannianSGD


@pytest.mark.parametrize(
    ("metric", "retraction"),
    [("euclidean", QR()), ("euclidean", Polar()), ("canonical", Cayley()), ("canonical", Exponential())],
    ids=["qr", "polar", "cayley", "exponential"],
)
@pytest.mark.parametrize(
    "make",
    [lambda p: RiemannianAdam(p, lr=1e-2), lambda p: RiemannianSGD(p, lr=1e-2, momentum=0.9)],
    ids=["adam", "sgd"],
)
def test_two_thousand_float32_steps_stay_feasible(metric, retraction, make) -> None:
    """The gradient's direction changes at every step, so that nothing settles and no step is short."""
    generator = torch.Generator().manual_seed(0)
    manifold = Stiefel(metric, retraction)
    start = manifold.random(128, 64, dtype=torch.float32, generator=generator)
    frame = geoopt.ManifoldParameter(start.clone(), manifold=manifold)
    optimizer = make([frame])
    worst = 0.0
    for step in range(1, 2001):
        frame.grad = torch.randn(128, 64, generator=generator)
        optimizer.step()
        if step % 100 == 0:
            worst = max(worst, float(orthogonality_error(frame)))
    assert worst < 1e-5
    assert (frame.detach() - start).norm() > 1
