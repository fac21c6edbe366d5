"""What ranks are worth: spectra of unfoldings and errors of TT-SVD against full decompositions by numpy in float64."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sttp.manifolds import InputMetric, RankErrors, SpectralTensorTrain, TrainShape
from sttp.manifolds._core_sweep import minimized_cores

settings.register_profile("train_ranks", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("train_ranks")
MODES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
SPLITS = [((12,), (18,)), ((2, 2, 3), (2, 3, 3)), ((2, 3), (3, 2, 2, 2)), ((5, 2, 2), (3,)), ((3,), (2, 2, 2, 2, 2))]


def normal(seed, *sizes):
    return torch.randn(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def decaying(seed, rows, columns):
    """Return a matrix whose singular values fall by five orders of magnitude."""
    scales = torch.logspace(0, -5, min(rows, columns), dtype=torch.float64)
    return (normal(seed, rows, len(scales)) * scales) @ normal(seed + 1, len(scales), columns)


def metric_of(size, seed, of_rows, diagonal):
    inputs = normal(seed, 3 * size, size) * torch.logspace(0, -1, size, dtype=torch.float64)
    moment = inputs.mT @ inputs
    return InputMetric.damped(moment.diagonal() if diagonal else moment, of_rows)


def unfolded(matrix, modes, bond):
    return np.asarray(matrix).reshape(math.prod(modes[:bond]), -1)


def error_of_truncations(matrix, shape):
    """Return the relative error of cutting each unfolding by a full SVD, from both sides to the centre."""
    split, modes = len(shape.row_modes), shape.row_modes + shape.column_modes
    tensor = np.asarray(matrix).reshape(modes)
    for bond in [*range(1, split), *range(len(modes) - 1, split, -1), split]:
        unfolding = unfolded(tensor, modes, bond)
        left, values, right = np.linalg.svd(unfolding, full_matrices=False)
        rank = shape.ranks[bond]
        tensor = ((left[:, :rank] * values[:rank]) @ right[:rank]).reshape(modes)
    return np.linalg.norm(tensor - np.asarray(matrix).reshape(modes)) / np.linalg.norm(matrix)


@given(MODES, MODES, st.integers(0, 100))
def test_spectra_are_those_of_all_unfoldings(row_modes, column_modes, seed):
    modes = row_modes + column_modes
    matrix = decaying(seed, math.prod(row_modes), math.prod(column_modes))
    found = RankErrors(matrix, TrainShape(row_modes, column_modes, 1)).values()
    for bond, values in enumerate(found, 1):
        expected = np.linalg.svd(unfolded(matrix, modes, bond), compute_uv=False)
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=3e-8 * expected[0])


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_spectra_in_a_metric_are_whitened_up_to_the_centre_from_the_other_side(split, of_rows, diagonal):
    rows, columns = map(math.prod, split)
    matrix = decaying(1, rows, columns)
    metric = metric_of(rows if of_rows else columns, 2, of_rows, diagonal)
    whitened = metric.whitened(matrix)
    modes = split[0] + split[1]
    found = RankErrors(matrix, TrainShape(*split, 1), metric).values()
    for bond, values in enumerate(found, 1):
        is_whitened = bond >= len(split[0]) if of_rows else bond <= len(split[0])
        expected = np.linalg.svd(unfolded(whitened if is_whitened else matrix, modes, bond), compute_uv=False)
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=3e-8 * expected[0])


@given(MODES, MODES, st.integers(1, 12), st.integers(0, 100))
def test_errors_are_those_of_full_decompositions_one_after_another(row_modes, column_modes, rank, seed):
    shape = TrainShape(row_modes, column_modes, rank)
    matrix = decaying(seed, shape.rows, shape.columns)
    found = RankErrors(matrix, shape).of_start(shape.ranks[1:-1])
    assert found == pytest.approx(error_of_truncations(matrix, shape), rel=1e-9, abs=1e-7)
    assert found == pytest.approx(float(SpectralTensorTrain(shape).from_matrix(matrix).error), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("split", SPLITS)
def test_errors_of_starts_in_a_metric_are_those_of_projections(split, rank, of_rows, diagonal):
    """The left side is cut in the whitened matrix; of what lies in its span, the right side is cut as it is."""
    shape = TrainShape(*split, rank)
    matrix = decaying(3, shape.rows, shape.columns)
    metric = metric_of(shape.rows if of_rows else shape.columns, 4, of_rows, diagonal)
    found = RankErrors(matrix, shape, metric).of_start(shape.ranks[1:-1])
    fitted = SpectralTensorTrain(shape).from_matrix(matrix, metric)
    assert float(fitted.calibrated_error) <= found + 1e-12
    if len(shape.frames) == 2 or found < 1e-7:
        assert found == pytest.approx(float(fitted.calibrated_error), rel=1e-8, abs=1e-12)
    whitened = np.asarray(metric.whitened(matrix))
    values = np.linalg.svd(whitened, compute_uv=False)
    assert found >= np.linalg.norm(values[shape.center_rank :]) / np.linalg.norm(values) - 1e-12


def cores_of(sizes, seed):
    """Return cores of M, all but the first orthogonal."""
    cores = [normal(seed + k, *size) for k, size in enumerate(sizes)]
    return [cores[0], *(torch.linalg.qr(core.flatten(1).mT)[0].mT.reshape(core.shape) for core in cores[1:])]


def contracted(cores):
    product = cores[0].new_ones(1, 1)
    for core in reversed(cores):
        product = (core.flatten(0, 1) @ product).reshape(len(core), -1)
    return product


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [
        [(3, 7, 1)],
        [(3, 2, 3), (3, 2, 4), (4, 3, 2), (2, 2, 1)],  # the last two are square
        [(5, 3, 6), (6, 2, 4), (4, 2, 3), (3, 5, 1)],
        [(2, 2, 4), (4, 4, 1)],
    ],
)
def test_cores_go_down_in_the_norm_and_stay_orthogonal(sizes, diagonal):
    cores = cores_of(sizes, 5)
    columns = math.prod(mode for _, mode, _ in sizes)
    target, metric = normal(6, sizes[0][0], columns), metric_of(columns, 7, False, diagonal)
    before = cores
    errors = [float(metric.norm(target - contracted(cores)))]
    for _ in range(60):
        cores = minimized_cores(cores, target, metric)
        errors.append(float(metric.norm(target - contracted(cores))))
    assert all(later <= earlier + 1e-12 * errors[0] for earlier, later in pairwise(errors))
    assert errors[1] < errors[0]
    assert [core.shape for core in cores] == [core.shape for core in before]
    for core in cores[1:]:
        np.testing.assert_allclose(core.flatten(1) @ core.flatten(1).mT, np.eye(len(core)), atol=1e-12)
    # At the end no change of the first core is worth anything: the rest is orthogonal to all of them in the norm.
    tail = contracted(cores[1:]) if cores[1:] else target.new_ones(1, 1)
    rest = metric.times(target - contracted(cores)).reshape(-1, tail.shape[1]) @ tail.mT
    assert rest.norm() <= 1e-4 * metric.times(target).norm()
