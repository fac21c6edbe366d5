"""Stiefel and Grassmann against pymanopt, which shares no code with this package."""

import numpy as np
import pytest
import torch
from hypothesis import given
from manifold_registry import EUCLIDEAN, GRASSMANN, draw_ambient, draw_point, draw_tangent, few, frame_shapes

from sttp.manifolds import QR, Grassmann, Polar, Stiefel

pymanopt_manifolds = pytest.importorskip("pymanopt.manifolds", reason="pymanopt is in the extra `test`")


def agree(ours: torch.Tensor, theirs: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, atol=tolerance)


@pytest.mark.parametrize("name", ["qr", "polar"])
@few
@given(shape=frame_shapes())
def test_stiefel(name: str, shape: tuple[int, ...]) -> None:
    n, p = shape[-2:]
    theirs = pymanopt_manifolds.Stiefel(n, p, retraction=name)
    ours = Stiefel("euclidean", {"qr": QR(), "polar": Polar()}[name])
    x, u = draw_point(EUCLIDEAN, (n, p)), draw_ambient((n, p))
    v, w = draw_tangent(EUCLIDEAN, x, 2), draw_tangent(EUCLIDEAN, x, 3)
    assert ours.dimension((n, p)) == theirs.dim
    agree(ours.proju(x, u), theirs.projection(x.numpy(), u.numpy()))
    agree(ours.egrad2rgrad(x, u), theirs.euclidean_to_riemannian_gradient(x.numpy(), u.numpy()))
    agree(ours.inner(x, v, w), theirs.inner_product(x.numpy(), v.numpy(), w.numpy()))
    agree(ours.norm(x, v), theirs.norm(x.numpy(), v.numpy()))
    agree(ours.retr(x, v), theirs.retraction(x.numpy(), v.numpy()))
    agree(ours.expmap(x, v), theirs.exp(x.numpy(), v.numpy()), 1e-11)
    end = ours.retr(x, v)
    agree(ours.transp(x, end, w), theirs.transport(x.numpy(), end.numpy(), w.numpy()))


@few
@given(shape=frame_shapes())
def test_grassmann(shape: tuple[int, ...]) -> None:
    n, p = shape[-2:]
    theirs = pymanopt_manifolds.Grassmann(n, p)
    ours = Grassmann(Polar())
    x, u = draw_point(GRASSMANN, (n, p)), draw_ambient((n, p))
    v, w = draw_tangent(GRASSMANN, x, 2, norm=0.9), draw_tangent(GRASSMANN, x, 3)
    assert ours.dimension((n, p)) == theirs.dim
    agree(ours.proju(x, u), theirs.projection(x.numpy(), u.numpy()))
    agree(ours.inner(x, v, w), theirs.inner_product(x.numpy(), v.numpy(), w.numpy()))
    agree(ours.retr(x, v), theirs.retraction(x.numpy(), v.numpy()))
    end = ours.expmap(x, v)
    other = theirs.exp(x.numpy(), v.numpy())
    agree(end @ end.mT, other @ other.T)  # one subspace, in a frame of each one's own
    agree(ours.logmap(x, end), theirs.log(x.numpy(), end.numpy()), 1e-11)
    # Their distance is the arccos of cosines, and good to half the digits only where it is small.
    agree(ours.dist(x, end), theirs.dist(x.numpy(), end.numpy()), 1e-7)


def test_hessian_of_pymanopt_is_the_one_that_the_checks_assume() -> None:
    """Their formula for the Riemannian Hessian passes our slope test, and ours with it."""
    from sttp.manifolds import checks

    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(7, 7, dtype=torch.float64, generator=generator)
    matrix = matrix + matrix.mT
    theirs = pymanopt_manifolds.Stiefel(7, 3)

    def hessian(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        arrays = (x.numpy(), (matrix @ x).numpy(), (matrix @ u).numpy(), u.numpy())
        return torch.from_numpy(theirs.euclidean_to_riemannian_hessian(*arrays))

    def cost(x: torch.Tensor) -> torch.Tensor:
        return (x * (matrix @ x)).sum() / 2

    assert checks.check_hessian(Stiefel(), cost, (7, 3), hessian=hessian).passed
    assert checks.check_hessian(Stiefel(), cost, (7, 3)).passed
