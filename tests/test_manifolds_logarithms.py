"""Logarithms and distances."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from manifold_registry import CANONICAL, GRASSMANN, Row, draw_point, draw_tangent, few, frame_shapes

from sttp.manifolds import Stiefel
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
