"""Fits in the metric of the inputs: never worse than TT-SVD there, the best ones where they are known."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trains import GEOMETRIES

from sttp.manifolds import InputMetric, RankErrors, SpectralTensorTrain, TrainShape

settings.register_profile("calibrated", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("calibrated")
SHAPES = [
    TrainShape((12,), (16,), 3),
    TrainShape((2, 2, 3), (2, 2, 2, 2), 3),
    TrainShape((3, 2, 2), (2, 2, 4), (2, 4, 5, 4, 2)),
    TrainShape((2, 2, 3), (2, 2, 2, 2), 4, 11, 15, pad=True),
    TrainShape((12,), (4, 4), 4),
    TrainShape((3, 4), (16,), 4),
]


def problem(shape, seed, of_rows, diagonal, samples):
    source = torch.Generator().manual_seed(seed)

    def normal(*sizes):
        return torch.randn(*sizes, dtype=torch.float64, generator=source)

    size = shape.rows if of_rows else shape.columns
    inputs = normal(samples, size) * torch.logspace(0, -1.5, size, dtype=torch.float64)
    inputs = inputs if diagonal else inputs @ normal(size, size)
    moment = inputs.mT @ inputs
    return normal(shape.rows, shape.columns), InputMetric.damped(moment.diagonal() if diagonal else moment, of_rows)


def weighted(metric, matrix):
    """Return A C^{1/2} by scipy's square root, not the Cholesky factor."""
    moment = metric.moment.numpy()
    root = np.diag(np.sqrt(moment)) if moment.ndim == 1 else scipy.linalg.sqrtm(moment)
    return root @ matrix.numpy() if metric.of_rows else matrix.numpy() @ root


@given(st.sampled_from(SHAPES), st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from([2, 40]))
def test_calibrated_error_is_never_above_that_of_the_plain_fit(shape, seed, of_rows, diagonal, samples):
    matrix, metric = problem(shape, seed, of_rows, diagonal, samples)
    train = SpectralTensorTrain(shape)
    errors = []
    for fit in (train.from_matrix(matrix, metric), train.from_matrix(matrix)):
        difference = matrix - train.to_matrix(fit.point)
        errors.append(np.linalg.norm(weighted(metric, difference)) / np.linalg.norm(weighted(metric, matrix)))
        if fit.calibrated_error is not None:
            np.testing.assert_allclose(fit.calibrated_error, errors[-1], rtol=1e-6)
            np.testing.assert_allclose(fit.error, difference.norm() / matrix.norm(), rtol=1e-6)
    assert errors[0] <= errors[1] * (1 + 1e-9)
    # No matrix of the rank at the centre is nearer, whatever its train (Eckart and Young).
    values = np.linalg.svd(weighted(metric, matrix), compute_uv=False)
    least = np.sqrt((values[shape.center_rank :] ** 2).sum() / (values**2).sum())
    assert errors[0] >= least * (1 - 1e-6)
    if len(shape.frames) == 2:
        np.testing.assert_allclose(errors[0], least, rtol=1e-6)


@pytest.mark.parametrize("of_rows", [False, True])
def test_sweeps_lower_the_norm_of_trains_where_the_inputs_have_few_directions(of_rows):
    shape = SHAPES[1]
    ratios = []
    for seed in range(8):
        matrix, metric = problem(shape, seed, of_rows, False, 40)
        train = SpectralTensorTrain(shape)
        plain, fitted = train.from_matrix(matrix), train.from_matrix(matrix, metric)
        ratios.append(
            float(fitted.calibrated_error)
            / float(metric.norm(matrix - train.to_matrix(plain.point)) / metric.norm(matrix))
        )
    assert np.median(ratios) < 0.8


@pytest.mark.parametrize("of_rows", [False, True])
def test_sweeps_go_below_both_starts(of_rows):
    shape, ratios = SHAPES[1], []
    for seed in range(8):
        matrix, metric = problem(shape, seed, of_rows, False, 40)
        train = SpectralTensorTrain(shape)
        plain = float(metric.norm(matrix - train.to_matrix(train.from_matrix(matrix).point)) / metric.norm(matrix))
        start = min(plain, RankErrors(matrix, shape, metric).of_start(shape.ranks[1:-1]))
        ratios.append(float(train.from_matrix(matrix, metric).calibrated_error) / start)
    assert max(ratios) <= 1 + 1e-9
    assert np.median(ratios) < 0.99


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_exact_trains_are_found(geometry, of_rows):
    shape = SHAPES[2]
    train = SpectralTensorTrain(shape, GEOMETRIES[geometry])
    matrix = train.to_matrix(train.random(dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    _, metric = problem(shape, 1, of_rows, False, 2)  # of rank 2 and little more
    fit = train.from_matrix(matrix, metric)
    assert fit.error < 1e-12
    assert fit.calibrated_error < 1e-12
    torch.testing.assert_close(train.to_matrix(fit.point), matrix, atol=1e-12, rtol=0)


def test_equal_inputs_in_all_directions_change_nothing():
    matrix, _ = problem(SHAPES[0], 0, False, False, 4)
    train = SpectralTensorTrain(SHAPES[0])
    fit = train.from_matrix(matrix, InputMetric.damped(torch.eye(16)))
    torch.testing.assert_close(fit.error, train.from_matrix(matrix).error)
    torch.testing.assert_close(fit.calibrated_error, fit.error)
    none = train.from_matrix(matrix, InputMetric.damped(torch.zeros(16, 16)))
    torch.testing.assert_close(none.calibrated_error, fit.error)


@pytest.mark.parametrize(
    ("error", "act", "words"),
    [
        (TypeError, lambda: InputMetric.damped([1.0]), ["moment", "Tensor"]),
        (ValueError, lambda: InputMetric.damped(torch.ones(2, 3)), ["moment", "(2, 3)"]),
        (ValueError, lambda: InputMetric.damped(torch.full((2, 2), float("nan"))), ["moment", "NaN"]),
        (ValueError, lambda: InputMetric.damped(-torch.eye(2) + 3 * torch.ones(2, 2)), ["positive semidefinite"]),
        (TypeError, lambda: SpectralTensorTrain(SHAPES[0]).from_matrix(torch.ones(12, 16), torch.eye(16)), ["metric"]),
        (
            ValueError,
            lambda: SpectralTensorTrain(SHAPES[0]).from_matrix(torch.ones(12, 16), InputMetric.damped(torch.eye(12))),
            ["metric", "16 columns", "12"],
        ),
    ],
)
def test_wrong_metrics_are_refused_by_name(error, act, words):
    with pytest.raises(error) as caught:
        act()
    assert all(word in str(caught.value) for word in words)
