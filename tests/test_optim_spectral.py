"""Spectral descent and its matrix sign, against scipy's polar factor and the dual problem's bound."""

import pytest
import scipy.linalg
import scipy.optimize
import torch
from optim_draws import draw, follow, frame, generator_of
from optimizer_registry import GRASSMANN
from torch import Tensor

from sttp.manifolds import Stiefel, haar_frame
from sttp.optim import SPEL, ManifoldMuon, matrix_sign
from sttp.optim._manifold_muon import steepest_direction

# --- the matrix sign ---


@pytest.mark.parametrize("shape", [(7, 1), (6, 6), (40, 12), (3, 2, 9, 4)], ids=str)
def test_the_matrix_sign_is_scipys_polar_factor(shape):
    matrix = draw(*shape)
    sign = matrix_sign(matrix, floor=1e-4)
    for one, computed in zip(matrix.reshape(-1, *shape[-2:]), sign.reshape(-1, *shape[-2:]), strict=True):
        expected = torch.from_numpy(scipy.linalg.polar(one.numpy())[0])
        torch.testing.assert_close(computed, expected, rtol=0, atol=1e-11)


def graded(rows: int, columns: int, smallest: float, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return a matrix of singular values in [smallest, 1] times a scale, and its polar factor."""
    left, right = (haar_frame(n, columns, dtype=torch.float64, generator=generator_of(n)) for n in (rows, columns))
    values = torch.logspace(0, float(torch.tensor(smallest).log10()), columns, dtype=torch.float64)
    return (scale * left * values @ right.mT).to(dtype), left @ right.mT


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(("smallest", "accuracy"), [(0.1, 1e-6), (1e-3, 4e-5)])
def test_the_matrix_sign_in_float32(smallest, accuracy, scale):
    """Orthonormal to 1e-6 at any condition down to the floor, near the polar factor as far as float32 defines it."""
    for shape in ((256, 64), (48, 48)):
        matrix, expected = graded(*shape, smallest, torch.float32, scale)
        sign = matrix_sign(matrix).double()
        assert torch.linalg.matrix_norm(sign.mT @ sign - torch.eye(shape[1], dtype=torch.float64), ord=2) < 1e-6
        assert torch.linalg.matrix_norm(sign - expected, ord=2) < accuracy


def test_the_matrix_sign_with_bounds_is_the_same_and_of_nothing_is_nothing():
    matrix, expected = graded(20, 5, 0.8, torch.float64)
    for options in ({}, {"floor": 0.8, "bound": 1.0}, {"floor": 0.5, "bound": 1.5}):
        torch.testing.assert_close(matrix_sign(matrix, **options), expected, rtol=0, atol=1e-12)
    assert torch.equal(matrix_sign(torch.zeros(4, 2)), torch.zeros(4, 2))
    partial = matrix_sign(draw(5, 1) @ draw(1, 3, seed=1))
    assert torch.linalg.svdvals(partial).tolist() == pytest.approx([1, 0, 0], abs=1e-9)


@pytest.mark.parametrize("floor", [0.0, -1.0, 1.5, float("nan")])
def test_a_floor_out_of_range_is_refused(floor):
    with pytest.raises(ValueError, match=r"floor must be finite and above 0 and at most 1"):
        matrix_sign(torch.eye(3), floor=floor)


# --- spectral descent ---


@pytest.mark.parametrize(
    ("shape", "steps", "gap"),
    [((12, 4), 10, 5e-3), ((12, 4), 60, 1e-6), ((6, 6), 0, 1e-12), ((9, 1), 0, 1e-12)],
    ids=str,
)
def test_the_direction_of_manifold_muon_closes_the_duality_gap(shape, steps, gap):
    """⟨Z, A⟩/‖A‖₂ of any tangent A is at most ‖Z + XΛ‖_* for any symmetric Λ; scipy's minimum over Λ is the bound."""
    points = haar_frame(3, *shape, dtype=torch.float64, generator=generator_of(0))
    vectors = Stiefel().proju(points, draw(3, *shape, seed=1))
    directions = steepest_direction(Stiefel(), points, vectors, steps)
    torch.testing.assert_close(Stiefel().proju(points, directions), directions, rtol=0, atol=1e-12)
    columns = shape[1]
    for point, vector, direction in zip(points.numpy(), vectors.numpy(), directions.numpy(), strict=True):

        def dual(entries, point=point, vector=vector):
            multiplier = entries.reshape(columns, columns)
            left, values, right = scipy.linalg.svd(vector + point @ (multiplier + multiplier.T), full_matrices=False)
            slope = point.T @ left @ right
            return values.sum(), (slope + slope.T).ravel()

        start = [0.0] * columns**2
        bound = scipy.optimize.minimize(dual, start, jac=True, method="BFGS", options={"gtol": 1e-10}).fun
        value = (vector * direction).sum() / scipy.linalg.svdvals(direction)[0]
        assert bound * (1 - gap) <= value <= bound * (1 + 1e-9)


@pytest.mark.parametrize("kind", [ManifoldMuon, SPEL])
def test_a_first_spectral_step_has_the_learning_rate_for_its_norm(kind):
    for shape, manifold in (((9, 3), Stiefel()), ((5, 5), Stiefel()), ((9, 3), GRASSMANN)):
        point = frame(*shape, manifold=manifold)
        start = point.detach().clone()
        point.grad = 1e-7 * draw(*shape)
        kind([point], lr=1e-4).step()
        moved = float(torch.linalg.matrix_norm(point.detach() - start, ord=2))
        # SPEL's step has a normal part, which the return takes off.
        assert 0.6e-4 < moved < 1.01e-4 if kind is SPEL and shape != (9, 3) else moved == pytest.approx(1e-4, rel=0.06)


@pytest.mark.parametrize("kind", [ManifoldMuon, SPEL])
def test_a_learning_rate_that_is_a_tensor_does_the_same(kind):
    first, second = frame(8, 3), frame(8, 3)
    rate = torch.tensor(0.1, dtype=torch.float64)
    follow([first, second], [kind([first], lr=0.1), kind([second], lr=rate)])
    torch.testing.assert_close(first, second, rtol=0, atol=1e-7)
