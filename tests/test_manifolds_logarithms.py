"""Logarithms and distances."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from manifold_registry import CANONICAL, GRASSMANN, Row, draw_ambient, draw_point, draw_tangent, few, frame_shapes

from sttp.manifolds import Stiefel, haar_frame
from sttp.manifolds._matrices import matrix_exponential
from sttp.manifolds._matrix_equations import (
    lyapunov_solution,
    rotation_logarithm,
    triangular_lyapunov_solution,
)

both = pytest.mark.parametrize("row", [CANONICAL, GRASSMANN], ids=["stiefel", "grassmann"])


@both
@pytest.mark.parametrize("norm", [1e-6, 0.3, 1.2])
@few
@given(shape=frame_shapes())
def test_logarithm_undoes_the_exponential(row: Row, norm: float, shape: tuple[int, ...]) -> None:
    point = draw_point(row, shape)
    tangent = draw_tangent(row, point, norm=norm)
    end = row.manifold.expmap(point, tangent)
    found = row.manifold.logmap(point, end)
    assert torch.allclose(found, tangent, atol=1e-10)
    lengths = row.manifold.norm(point, tangent)
    assert torch.allclose(row.manifold.dist(point, end), lengths, atol=1e-10)
    assert torch.allclose(row.manifold.dist(end, point), lengths, atol=1e-10)
    assert torch.allclose(row.manifold.dist2(point, end), lengths**2, atol=1e-9)
    assert row.manifold.dist(point, end, keepdim=True).shape == (*shape[:-2], 1, 1)


@both
@pytest.mark.parametrize("shape", [(9, 4), (5, 4), (12, 1), (2, 8, 3), (4, 4)], ids=str)
def test_exponential_undoes_the_logarithm_of_random_points(row: Row, shape: tuple[int, ...]) -> None:
    point, other = draw_point(row, shape, seed=1), draw_point(row, shape, seed=2)
    # Random points are far apart: with n = p they may have no geodesic between them, and half of the way will do.
    other = row.manifold.projx(point + 0.6 * other)
    tangent = row.manifold.logmap(point, other)
    assert torch.allclose(row.manifold.proju(point, tangent), tangent, atol=1e-11)
    end = row.manifold.expmap(point, tangent)
    first, second = (end @ end.mT, other @ other.mT) if row.is_quotient else (end, other)
    assert torch.allclose(first, second, atol=1e-10)


@both
def test_logarithm_at_the_point_itself_is_zero(row: Row) -> None:
    point = draw_point(row, (3, 7, 3))
    assert row.manifold.logmap(point, point).abs().max() < 1e-12
    assert row.manifold.dist(point, point).max() < 1e-12


@both
def test_logarithm_in_float32(row: Row) -> None:
    point = draw_point(row, (60, 12), torch.float32)
    tangent = draw_tangent(row, point, norm=0.8)
    found = row.manifold.logmap(point, row.manifold.expmap(point, tangent))
    assert (found - tangent).abs().max() < 1e-4


def test_a_rank_deficient_step_is_found_again() -> None:
    for row in (CANONICAL, GRASSMANN):
        point = draw_point(row, (8, 3))
        tangent = draw_tangent(row, point, norm=0.5)
        tangent[:, 1:] = 0
        tangent = row.manifold.proju(point, tangent)
        assert torch.allclose(row.manifold.logmap(point, row.manifold.expmap(point, tangent)), tangent, atol=1e-12)


def test_grassmann_distance_is_that_of_scipys_angles() -> None:
    first, second = draw_point(GRASSMANN, (9, 4), seed=1), draw_point(GRASSMANN, (9, 4), seed=2)
    angles = scipy.linalg.subspace_angles(first.numpy(), second.numpy())
    assert float(GRASSMANN.manifold.dist(first, second)) == pytest.approx(np.linalg.norm(angles), abs=1e-12)
    # Small angles keep their digits, where arccos of cosines would lose half of them.
    near = GRASSMANN.manifold.expmap(first, draw_tangent(GRASSMANN, first, norm=1e-9))
    angles = scipy.linalg.subspace_angles(first.numpy(), near.numpy())
    assert float(GRASSMANN.manifold.dist(first, near)) == pytest.approx(np.linalg.norm(angles), rel=1e-5)


def test_subspaces_at_right_angles_have_a_logarithm() -> None:
    identity = torch.eye(6, dtype=torch.float64)
    first, second = identity[:, :2], identity[:, 2:4]
    tangent = GRASSMANN.manifold.logmap(first, second)
    assert float(GRASSMANN.manifold.dist(first, second)) == pytest.approx(np.pi / 2 * 2**0.5)
    end = GRASSMANN.manifold.expmap(first, tangent)
    assert torch.allclose(end @ end.mT, second @ second.mT, atol=1e-12)


def test_points_on_a_sphere_are_as_far_as_their_angle() -> None:
    first, second = draw_point(CANONICAL, (5, 7, 1), seed=1), draw_point(CANONICAL, (5, 7, 1), seed=2)
    angle = (first * second).sum((-2, -1)).arccos()
    assert torch.allclose(CANONICAL.manifold.dist(first, second), angle, atol=1e-12)


def test_what_has_no_answer_is_refused_by_name() -> None:
    point = draw_point(CANONICAL, (6, 3))
    euclidean = Stiefel("euclidean")
    with pytest.raises(NotImplementedError, match=r"Stiefel\.logmap.*got 'euclidean'"):
        euclidean.logmap(point, point)
    with pytest.raises(NotImplementedError, match=r"Stiefel\.dist.*got 'euclidean'"):
        euclidean.dist(point, point)
    reflected = torch.eye(3, dtype=torch.float64)
    reflected[2, 2] = -1
    with pytest.raises(ValueError, match="y must be nearer to x"):
        CANONICAL.manifold.logmap(torch.eye(3, dtype=torch.float64), reflected)


@few
@given(shape=frame_shapes())
def test_logarithm_of_rotations(shape: tuple[int, ...]) -> None:
    size = shape[-2]
    generator = torch.Generator().manual_seed(size)
    skew = torch.randn(*shape[:-2], size, size, dtype=torch.float64, generator=generator)
    skew = skew - skew.mT
    skew = skew * (3.0 / torch.linalg.matrix_norm(skew, ord=2).clamp(min=1e-9))[..., None, None]
    assert torch.allclose(rotation_logarithm(torch.linalg.matrix_exp(skew)), skew, atol=1e-11)


def test_logarithm_of_rotations_with_clustered_angles_is_scipys() -> None:
    plane = np.array([[0.0, -1.0], [1.0, 0.0]])
    basis = scipy.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    skew = basis @ scipy.linalg.block_diag(*(angle * plane for angle in (1.0, 1.0, 1.0 + 1e-9, 0.0))) @ basis.T
    rotation = scipy.linalg.expm(skew)
    found = rotation_logarithm(torch.from_numpy(rotation)).numpy()
    np.testing.assert_allclose(found, scipy.linalg.logm(rotation).real, atol=1e-12)


@few
@given(shape=frame_shapes())
def test_matrix_equations(shape: tuple[int, ...]) -> None:
    size = shape[-1]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(*shape[:-2], size, size, dtype=torch.float64, generator=generator)
    matrix = torch.eye(size, dtype=torch.float64) + 0.4 * noise / size**0.5
    identity = 2 * torch.eye(size, dtype=torch.float64).expand_as(matrix)
    symmetric = lyapunov_solution(matrix)
    assert torch.allclose(matrix @ symmetric + symmetric @ matrix.mT, identity, atol=1e-12)
    assert torch.equal(symmetric, symmetric.mT)
    triangular = triangular_lyapunov_solution(matrix)
    assert torch.allclose(matrix @ triangular + (matrix @ triangular).mT, identity, atol=1e-11)
    assert torch.equal(triangular, triangular.triu())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (3,), (0,)], ids=str)
def test_exponential_of_skew_matrices_is_scipys(dtype: torch.dtype, batch: tuple[int, ...]) -> None:
    for size in (1, 3, 8):
        for norm in (1e-8, 1e-4, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.3, 1.0, 10.0, 100.0):
            noise = draw_ambient((*batch, size, size))
            skew = noise - noise.mT
            length = torch.linalg.matrix_norm(skew, ord=1).clamp(min=1e-9)
            skew = (skew * (norm / length)[..., None, None]).to(dtype)
            expected = torch.from_numpy(scipy.linalg.expm(skew.double().numpy()))
            allowed = (4 if norm <= 1 else 50 * norm) * torch.finfo(dtype).eps  # scaling and squaring, of both
            torch.testing.assert_close(matrix_exponential(skew).double(), expected, rtol=0, atol=allowed)


def test_exponential_of_a_single_matrix_has_derivatives_in_both_modes() -> None:
    matrix = (0.02 * draw_ambient((3, 3))).requires_grad_()
    assert torch.autograd.gradcheck(matrix_exponential, matrix, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(matrix_exponential, matrix)


def test_near_points_have_a_distance() -> None:
    for seed in range(100):
        point = draw_point(CANONICAL, (10, 3), seed=seed)
        tangent = draw_tangent(CANONICAL, point, seed=seed)
        tangent = 0.04 * tangent / CANONICAL.manifold.norm(point, tangent)
        end = CANONICAL.manifold.expmap(point, tangent)
        assert float(CANONICAL.manifold.dist(point, end)) == pytest.approx(0.04, abs=1e-13)


@pytest.mark.parametrize("once", [torch.float32, torch.bfloat16], ids=str)
def test_frames_that_were_of_a_lower_precision_have_a_distance(once: torch.dtype) -> None:
    first, second = (draw_point(CANONICAL, (20, 10, 3), seed=seed).to(once).double() for seed in (1, 2))
    assert CANONICAL.manifold.dist(first, first).max() < 1e-14
    nearest = CANONICAL.manifold.dist(CANONICAL.manifold.projx(first), CANONICAL.manifold.projx(second))
    assert torch.allclose(CANONICAL.manifold.dist(first, second), nearest, rtol=10 * torch.finfo(once).eps)


def test_what_is_unreachable_is_nan_on_request_and_alone() -> None:
    identity = torch.eye(3, dtype=torch.float64)
    reflected = identity * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    turned = CANONICAL.manifold.expmap(identity, 0.3 * (draw_ambient((3, 3)) - draw_ambient((3, 3)).mT))
    ends = torch.stack((reflected, turned, 2 * turned, torch.full_like(turned, torch.nan)))
    starts = identity.expand(4, 3, 3)
    distances = CANONICAL.manifold.dist(starts, ends, unreachable="nan")
    assert distances.isnan().tolist() == [True, False, True, True]
    assert distances[1] == pytest.approx(float(CANONICAL.manifold.dist(identity, turned)), abs=1e-14)
    assert CANONICAL.manifold.logmap(starts, ends, unreachable="nan")[1].isfinite().all()
    with pytest.raises(ValueError, match="x and y must be frames"):
        CANONICAL.manifold.dist(starts, ends)
    with pytest.raises(ValueError, match="y must be nearer to x"):
        CANONICAL.manifold.dist(starts[:2], ends[:2])


def test_distance_is_the_least_over_all_completions() -> None:
    """With n − p = 2 all rotations that begin with Y are one circle, which is searched by the angles of rotations."""
    generator = torch.Generator().manual_seed(0)
    first, second = (haar_frame(500, 7, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    for pair in (16, 120, 0):  # from one start alone, the first two come out 0.4 % and 0.6 % too long
        x, y = first[pair], second[pair]
        bases = [scipy.linalg.qr(point.numpy())[0] for point in (x, y)]
        bases = [np.hstack((point.numpy(), basis[:, 5:])) for point, basis in zip((x, y), bases, strict=True)]
        rotation = bases[0].T @ bases[1]
        rotation[:, -1] *= np.sign(np.linalg.det(rotation))
        turned = []
        for angle in np.linspace(0, 2 * np.pi, 361):
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            turned.append(np.hstack((rotation[:, :5], rotation[:, 5:] @ turn)))
        # The logarithm of a rotation has its angles, each twice, as singular values.
        least = np.linalg.norm(np.angle(np.linalg.eigvals(turned)), axis=-1).min() / 2**0.5
        assert least * (1 - 1e-4) < float(CANONICAL.manifold.dist(x, y)) <= least
