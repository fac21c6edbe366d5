"""Properties of every retraction: feasibility, slopes, transport, large steps, agreement with scipy."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from manifold_registry import (
    EUCLIDEAN,
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

from sttp.manifolds import QR, SHORT, Cayley, Grassmann, Polar, Stiefel, Transport, orthogonality_error

each_manifold = pytest.mark.parametrize("row", ROWS, ids=NAMES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


def slope(steps: torch.Tensor, errors: torch.Tensor) -> float:
    """Return the slope of log error against log step."""
    return float(np.polyfit(steps.log().numpy(), errors.log().numpy(), 1)[0])


def distance(row: Row, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the distance of two points, as matrices or for a quotient as projectors."""
    if row.is_quotient:
        first, second = first @ first.mT, second @ second.mT
    return torch.linalg.matrix_norm(first - second)


@each_dtype
@each_manifold
@few
@given(shape=frame_shapes())
def test_retraction_is_centred_feasible_and_batched(row: Row, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape, dtype)
    tangent = draw_tangent(row, point, norm=0.7)
    end = row.manifold.retr(point, tangent)
    assert end.dtype == dtype
    assert end.shape == point.shape
    assert orthogonality_error(end).max() < tolerance(dtype, 1e-13, 1e-5)
    centre = row.manifold.retr(point, torch.zeros_like(point))
    assert torch.allclose(centre, point, atol=tolerance(dtype, 1e-13, 1e-5))
    flat_point, flat_tangent = point.reshape(-1, *shape[-2:]), tangent.reshape(-1, *shape[-2:])
    one_by_one = [row.manifold.retr(x, u) for x, u in zip(flat_point, flat_tangent, strict=True)]
    expected = torch.stack(one_by_one).reshape(shape)
    assert torch.allclose(end, expected, atol=tolerance(dtype, 1e-12, 1e-4))


@each_manifold
@pytest.mark.parametrize("shape", [(9, 4), (5, 3), (4, 4), (6, 1)], ids=str)
def test_retraction_is_of_the_order_it_claims(row: Row, shape: tuple[int, int]) -> None:
    if row.dimension(*shape) == 0:
        pytest.skip("a manifold of isolated points has no steps")
    point = draw_point(row, shape)
    tangent = draw_tangent(row, point, norm=1.0)
    steps = torch.logspace(-3, -1.5, 4, dtype=torch.float64)
    ends = [row.manifold.retr(point, t * tangent) for t in steps]
    linear = torch.stack(
        [torch.linalg.matrix_norm(end - point - t * tangent) for t, end in zip(steps, ends, strict=True)]
    )
    assert slope(steps, linear) > 1.95
    exact = torch.stack(
        [distance(row, end, row.manifold.expmap(point, t * tangent)) for t, end in zip(steps, ends, strict=True)]
    )
    if exact.max() < 1e-12:  # the exponential map itself, or a sphere on which the two agree
        return
    measured = slope(steps, exact)
    assert measured > (2.9 if row.second_order else 1.9)


def test_first_order_retractions_are_of_first_order_only() -> None:
    """The registry's claim is sharp: where it says first order, the slope is 2 and not 3."""
    for row in ROWS:
        if row.second_order:
            continue
        point = draw_point(row, (9, 4))
        tangent = draw_tangent(row, point, norm=1.0)
        steps = torch.logspace(-3, -2, 4, dtype=torch.float64)
        errors = [
            distance(row, row.manifold.retr(point, t * tangent), row.manifold.expmap(point, t * tangent)) for t in steps
        ]
        assert slope(steps, torch.stack(errors)) == pytest.approx(2, abs=0.1), row.name


@each_manifold
@few
@given(shape=frame_shapes())
def test_transport_is_linear_tangent_and_consistent(row: Row, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape)
    step, first, second = (draw_tangent(row, point, seed) for seed in (1, 2, 3))
    end, moved = row.manifold.retr_transp(point, step, first)
    assert torch.allclose(end, row.manifold.retr(point, step), atol=1e-12)
    assert torch.allclose(row.manifold.proju(end, moved), moved, atol=1e-11)
    assert torch.allclose(row.manifold.transp_follow_retr(point, step, first), moved, atol=1e-12)
    combined = row.manifold.transp_follow_retr(point, step, 2 * first - second)
    other = row.manifold.transp_follow_retr(point, step, second)
    assert torch.allclose(combined, 2 * moved - other, atol=1e-10)
    unmoved = row.manifold.transp_follow_retr(point, torch.zeros_like(step), first)
    assert torch.allclose(unmoved, first, atol=1e-11)
    target = draw_point(row, shape, seed=5)
    carried = row.manifold.transp(point, target, first)
    assert torch.allclose(row.manifold.proju(target, carried), carried, atol=1e-11)


@each_manifold
@pytest.mark.parametrize("norm", [1e-3, 1.0, 30.0, 1e3])
def test_float32_steps_of_any_length_stay_feasible(row: Row, norm: float) -> None:
    for shape in ((96, 24), (24, 24), (30, 20), (40, 1)):
        point = draw_point(row, shape, torch.float32)
        tangent = draw_tangent(row, point, norm=norm)
        if not tangent.any():
            continue
        end, moved = row.manifold.retr_transp(point, tangent, tangent)
        assert orthogonality_error(end) < 1e-5
        assert moved.isfinite().all()


PLAIN = [row for row in ROWS if row.manifold.retraction.transport is Transport.PROJECTION]


@pytest.mark.parametrize("row", PLAIN, ids=[row.name for row in PLAIN])
@pytest.mark.parametrize("rank", [1, 256])
def test_large_float32_frames_stay_feasible(row: Row, rank: int) -> None:
    """A step of low rank leaves X + Ξ with singular values from 1 to ‖Ξ‖₂, the worst there is for rounding."""
    point = draw_point(row, (1024, 256), torch.float32)
    generator = torch.Generator().manual_seed(1)
    ambient = torch.randn(1024, rank, generator=generator) @ torch.randn(rank, 256, generator=generator)
    tangent = row.manifold.proju(point, ambient)
    tangent = tangent * (1e3 / torch.linalg.matrix_norm(tangent, ord=2))
    assert orthogonality_error(row.manifold.retr(point, tangent)) < 1e-5


@each_manifold
def test_small_float32_frames_stay_feasible_on_steps_of_low_rank(row: Row) -> None:
    for seed in range(6):
        point, vector = draw_point(row, (96, 24), torch.float32, seed), draw_ambient((96, 1), torch.float32, seed)
        tangent = row.manifold.proju(point, vector @ draw_ambient((1, 24), torch.float32, 100 + seed))
        tangent = tangent * (1e3 / torch.linalg.matrix_norm(tangent, ord=2))
        end, moved = row.manifold.retr_transp(point, tangent, tangent)
        assert orthogonality_error(end) < 1e-5
        assert moved.isfinite().all()


@each_dtype
@each_manifold
@few
@given(shape=frame_shapes())
def test_short_steps_end_where_all_steps_do(row: Row, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    point, vector = draw_point(row, shape, dtype), draw_tangent(row, draw_point(row, shape, dtype), 2)
    step = draw_tangent(row, point, norm=1.0)
    step = SHORT * step / torch.linalg.matrix_norm(step).clamp(min=1.0)[..., None, None]
    end, moved = row.manifold.retr_transp(point, step, vector, short=True)
    expected_end, expected = row.manifold.retr_transp(point, step, vector)
    assert orthogonality_error(end).max() < tolerance(dtype, 1e-13, 1e-5)
    assert torch.allclose(end, expected_end, atol=tolerance(dtype, 1e-13, 1e-5))
    assert torch.allclose(moved, expected, atol=tolerance(dtype, 1e-12, 1e-4))


@pytest.mark.parametrize("shape", [(9, 4), (5, 4), (4, 4), (6, 1)], ids=str)
def test_exponentials_agree_with_scipy_on_the_whole_space(shape: tuple[int, int]) -> None:
    """Exp_X(Ξ) = expm(W)·X·expm(C) with n × n and p × p skew matrices (Edelman, Arias, Smith 1998, Sec. 2.2, 2.4)."""
    n, _ = shape
    identity = np.eye(n)
    point = draw_point(EUCLIDEAN, shape)
    tangent = draw_tangent(EUCLIDEAN, point, norm=1.3)
    x, u = point.numpy(), tangent.numpy()
    half = (identity - x @ x.T / 2) @ u
    rotation = half @ x.T - x @ half.T
    canonical = scipy.linalg.expm(rotation) @ x
    np.testing.assert_allclose(Stiefel("canonical").expmap(point, tangent).numpy(), canonical, atol=1e-12)
    skew = x.T @ u
    euclidean = scipy.linalg.expm(rotation + x @ skew @ x.T) @ x @ scipy.linalg.expm(-skew)
    np.testing.assert_allclose(Stiefel("euclidean").expmap(point, tangent).numpy(), euclidean, atol=1e-12)
    horizontal = tangent - point @ (point.mT @ tangent)
    h = horizontal.numpy()
    grassmann = scipy.linalg.expm(h @ x.T - x @ h.T) @ x
    np.testing.assert_allclose(Grassmann().expmap(point, horizontal).numpy(), grassmann, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 4), (5, 4), (4, 4), (6, 1)], ids=str)
def test_retractions_agree_with_scipy(shape: tuple[int, int]) -> None:
    n, _ = shape
    point = draw_point(EUCLIDEAN, shape)
    tangent = draw_tangent(EUCLIDEAN, point, norm=1.3)
    x, u = point.numpy(), tangent.numpy()
    orthogonal, triangular = scipy.linalg.qr(x + u, mode="economic")
    orthogonal = orthogonal * np.sign(np.diag(triangular))
    np.testing.assert_allclose(Stiefel(retraction=QR()).retr(point, tangent).numpy(), orthogonal, atol=1e-12)
    polar = scipy.linalg.polar(x + u)[0]
    np.testing.assert_allclose(Stiefel(retraction=Polar()).retr(point, tangent).numpy(), polar, atol=1e-12)
    identity = np.eye(n)
    half = (identity - x @ x.T / 2) @ u
    rotation = half @ x.T - x @ half.T
    cayley = scipy.linalg.solve(identity - rotation / 2, (identity + rotation / 2) @ x)
    np.testing.assert_allclose(Stiefel(retraction=Cayley()).retr(point, tangent).numpy(), cayley, atol=1e-12)


def test_exponential_takes_rank_deficient_steps() -> None:
    """Directions whose part outside X has rank 0 or 1: the basis of the complement is not determined by them."""
    point = draw_point(EUCLIDEAN, (8, 3))
    inside = point @ torch.tensor([[0.0, 1, 0], [-1, 0, 2], [0, -2, 0]], dtype=torch.float64)
    single = torch.zeros_like(point)
    single[:, 1] = (torch.eye(8, dtype=torch.float64) - point @ point.mT)[:, 0]
    for tangent in (inside, single, inside + single, torch.zeros_like(point)):
        for metric in ("euclidean", "canonical"):
            end = Stiefel(metric).expmap(point, tangent)
            assert orthogonality_error(end) < 1e-13
            back = Stiefel(metric).expmap(end, torch.zeros_like(end))
            assert torch.allclose(back, end, atol=1e-13)


@each_manifold
def test_a_step_repairs_what_rounding_left(row: Row) -> None:
    """Points that are off by 1e-4 come back within a step, which is what keeps errors from adding up."""
    point = draw_point(row, (12, 5)) + 1e-5 * draw_ambient((12, 5))
    end = row.manifold.retr(point, torch.zeros_like(point))
    assert orthogonality_error(point) > 1e-5
    assert orthogonality_error(end) < 1e-13
