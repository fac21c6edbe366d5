"""Properties of every manifold of frames: points, projection, metric, gradient, bad input."""

import geoopt
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given
from manifold_registry import (
    NAMES,
    ROWS,
    Row,
    draw_ambient,
    draw_point,
    draw_tangent,
    few,
    frame_shapes,
    tolerance,
)

from sttp.manifolds import QR, Cayley, Grassmann, Polar, Stiefel, haar_frame, orthogonality_error
from sttp.manifolds._matrices import polar_factor, rq_positive

each_manifold = pytest.mark.parametrize("row", ROWS, ids=NAMES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


@each_dtype
@each_manifold
@few
@given(shape=frame_shapes())
def test_projection_is_an_orthogonal_projection_to_tangents(
    row: Row, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    close = tolerance(dtype)
    point, first, second = draw_point(row, shape, dtype), draw_ambient(shape, dtype, 1), draw_ambient(shape, dtype, 2)
    projected = row.manifold.proju(point, first)
    gram = point.mT @ projected
    vertical = gram if row.is_quotient else gram + gram.mT
    assert vertical.abs().max() < close
    assert torch.allclose(row.manifold.proju(point, projected), projected, atol=close)
    combined = row.manifold.proju(point, 2 * first - 3 * second)
    assert torch.allclose(combined, 2 * projected - 3 * row.manifold.proju(point, second), atol=10 * close)
    # Self-adjoint in the metric, whose formula extends to all matrices, and in the Frobenius inner product.
    for inner in (row.manifold.inner, lambda _, u, v: (u * v).sum((-2, -1))):
        left, right = inner(point, projected, second), inner(point, first, row.manifold.proju(point, second))
        assert torch.allclose(left, right, atol=50 * close)


@each_manifold
@few
@given(shape=frame_shapes())
def test_dimension_is_the_rank_of_the_projection(row: Row, shape: tuple[int, ...]) -> None:
    n, p = shape[-2:]
    point = draw_point(row, (n, p))
    basis = torch.eye(n * p, dtype=torch.float64).reshape(n * p, n, p)
    projected = row.manifold.proju(point, basis).reshape(n * p, n * p)
    assert int(torch.linalg.matrix_rank(projected, atol=1e-9, rtol=0.0)) == row.dimension(n, p)


@each_dtype
@each_manifold
@few
@given(shape=frame_shapes())
def test_gradient_represents_the_differential_in_the_metric(
    row: Row, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    close = tolerance(dtype)
    point, euclidean = draw_point(row, shape, dtype), draw_ambient(shape, dtype, 2)
    if row.is_quotient:  # a function of the subspace alone has a horizontal Euclidean gradient
        euclidean = row.manifold.proju(point, euclidean)
    gradient, tangent = row.manifold.egrad2rgrad(point, euclidean), draw_tangent(row, point)
    assert torch.allclose(row.manifold.proju(point, gradient), gradient, atol=close)
    differential = (euclidean * tangent).sum((-2, -1))
    assert torch.allclose(row.manifold.inner(point, gradient, tangent), differential, atol=50 * close)


@each_manifold
@few
@given(shape=frame_shapes())
def test_metric_is_symmetric_positive_and_consistent(row: Row, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape)
    first, second = draw_tangent(row, point, 1), draw_tangent(row, point, 2)
    inner = row.manifold.inner
    assert torch.allclose(inner(point, first, second), inner(point, second, first))
    frobenius = (first * first).sum((-2, -1))
    squares = inner(point, first)
    assert (squares >= frobenius / 2 - 1e-12).all()
    assert (squares <= frobenius + 1e-12).all()
    assert torch.allclose(row.manifold.norm(point, first), squares.sqrt())
    kept = inner(point, first, second, keepdim=True)
    assert kept.shape == (*shape[:-2], 1, 1)
    assert torch.equal(row.manifold.component_inner(point, first, second), kept)
    assert torch.allclose(kept[..., 0, 0], inner(point, first, second))


@each_dtype
@each_manifold
@few
@given(shape=frame_shapes())
def test_points_are_feasible_and_checked(row: Row, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    point = row.manifold.random(*shape, dtype=dtype)
    assert isinstance(point, geoopt.ManifoldTensor)
    origin = row.manifold.origin(shape, dtype=dtype)
    projected = row.manifold.projx(draw_ambient(shape, dtype))
    for frame in (point, origin, projected):
        assert frame.shape == shape
        assert frame.dtype == dtype
        assert orthogonality_error(frame).max() < tolerance(dtype, 1e-13, 1e-5)
        assert row.manifold.check_point_on_manifold(frame)
    assert not row.manifold.check_point_on_manifold(1.01 * point)
    tangent = draw_tangent(row, point.as_subclass(torch.Tensor))
    assert row.manifold.check_vector_on_tangent(point, tangent)
    assert not row.manifold.check_vector_on_tangent(point, tangent + point)


def test_projection_of_a_matrix_is_the_polar_factor_of_scipy() -> None:
    matrix = draw_ambient((3, 8, 4))
    expected = np.stack([scipy.linalg.polar(item.numpy())[0] for item in matrix])
    np.testing.assert_allclose(Stiefel().projx(matrix).numpy(), expected, atol=1e-13)
    points, targets = draw_ambient((3, 8, 5), seed=2), draw_ambient((3, 8, 5), seed=3)
    pairs = zip(points.numpy(), targets.numpy(), strict=True)
    procrustes = np.stack([scipy.linalg.orthogonal_procrustes(a, b)[0] for a, b in pairs])
    np.testing.assert_allclose(polar_factor(points.mT @ targets).numpy(), procrustes, atol=1e-12)


def test_rq_decomposition_is_scipy_up_to_signs() -> None:
    matrix = draw_ambient((4, 5, 5))
    triangular, orthogonal = rq_positive(matrix)
    assert torch.allclose(triangular @ orthogonal, matrix, atol=1e-13)
    assert torch.equal(triangular.triu(), triangular)
    assert (triangular.diagonal(dim1=-2, dim2=-1) >= 0).all()
    oracle = np.stack([scipy.linalg.rq(item.numpy())[0] for item in matrix])
    np.testing.assert_allclose(triangular.abs().numpy(), np.abs(oracle), atol=1e-12)


def test_random_points_are_haar_distributed() -> None:
    n, p, draws = 5, 3, 4000
    frames = haar_frame(draws, n, p, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # A squared entry of a uniform unit vector in R^n is Beta(1/2, (n − 1)/2); signs and entries are symmetric.
    for row, column in ((0, 0), (4, 2), (1, 1)):
        entries = frames[:, row, column].numpy()
        assert scipy.stats.kstest(entries**2, scipy.stats.beta(0.5, (n - 1) / 2).cdf).pvalue > 1e-3
        assert abs(entries.mean()) < 5 / np.sqrt(n * draws)
    covariance = torch.einsum("kni,kmj->nimj", frames, frames) / draws
    expected = torch.einsum("nm,ij->nimj", torch.eye(n), torch.eye(p)) / n
    assert (covariance - expected).abs().max() < 5 / np.sqrt(draws) / n * 2


@each_dtype
def test_a_generator_makes_random_points_repeatable(dtype: torch.dtype) -> None:
    first, second = (Stiefel().random(4, 2, dtype=dtype, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_euclidean_stiefel_agrees_with_geoopt() -> None:
    ours, theirs = Stiefel("euclidean", QR()), geoopt.EuclideanStiefel()
    point = ours.random(3, 9, 4, dtype=torch.float64).as_subclass(torch.Tensor)
    ambient, tangent = draw_ambient((3, 9, 4), seed=2), ours.proju(point, draw_ambient((3, 9, 4), seed=3))
    for name, arguments in {
        "proju": (point, ambient),
        "egrad2rgrad": (point, ambient),
        "inner": (point, tangent, ambient),
        "retr": (point, tangent),
        "expmap": (point, tangent),
        "projx": (ambient,),
    }.items():
        difference = getattr(ours, name)(*arguments) - getattr(theirs, name)(*arguments)
        assert difference.abs().max() < 1e-12, name
    for mine, other in zip(
        ours.retr_transp(point, tangent, ambient), theirs.retr_transp(point, tangent, ambient), strict=True
    ):
        assert torch.allclose(mine, other, atol=1e-12)


def test_manifolds_of_one_kind_are_equal_and_others_differ() -> None:
    assert Stiefel() == Stiefel("euclidean", QR())
    assert hash(Stiefel()) == hash(Stiefel("euclidean", QR()))
    different = [row.manifold for row in ROWS] + [Stiefel("euclidean", Polar(polishes=1))]
    assert len(set(different)) == len(different) == 31
    assert Stiefel() != geoopt.EuclideanStiefel()
    assert "QR" in repr(Stiefel())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Stiefel("riemannian"), ValueError, "metric must be one of 'euclidean', 'canonical', got 'riemannian'"),
        (lambda: Stiefel(retraction="qr"), TypeError, "retraction must be an object such as QR.*'qr'"),
        (lambda: Grassmann(retraction=QR), TypeError, "retraction must be an object"),
        (lambda: Stiefel().random(3, 4), ValueError, r"size must be .* n >= p, got \(3, 4\)"),
        (lambda: Grassmann().origin(3), ValueError, r"size must have at least 2 dimensions, got \(3,\)"),
        (lambda: Stiefel().assert_check_point(torch.zeros(2, 3)), ValueError, "tall as wide"),
        (lambda: Stiefel().assert_check_point_on_manifold(torch.ones(3, 2)), ValueError, "XᵀX != I"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical", Cayley()), Grassmann()], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=0.1, momentum=0.5),
        lambda parameters: geoopt.optim.RiemannianAdam(parameters, lr=0.1),
        lambda parameters: geoopt.optim.RiemannianAdam(parameters, lr=0.1, amsgrad=True, stabilize=5),
        lambda parameters: geoopt.optim.RiemannianLineSearch(parameters),
    ],
    ids=["sgd", "adam", "amsgrad", "line-search"],
)
def test_stock_geoopt_optimizers_descend(manifold: geoopt.Manifold, make) -> None:
    """The dominant subspace of a symmetric matrix, by tr(XᵀAX)."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64))
    start = manifold.random(8, 3, dtype=torch.float64, generator=generator)
    parameter = geoopt.ManifoldParameter(start.clone(), manifold=manifold)
    optimizer = make([parameter])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -(parameter * (matrix @ parameter)).sum()
        loss.backward()
        return loss

    first = closure().item()
    for _ in range(25):
        optimizer.step(closure)
    assert closure().item() < first - 1.0
    assert orthogonality_error(parameter) < 1e-6
