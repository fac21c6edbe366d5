"""Fits of matrices: truncated decompositions against numpy's, and trains against exact ranks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trains import generator, relative_error

from sttp.manifolds import SpectralTensorTrain, TrainShape, haar_frame
from sttp.manifolds._truncated_svd import (
    SMALL,
    leading_basis,
    leading_part,
    singular_values,
    squared_values,
    truncated_svd,
)


def matrix_of(values, rows, columns, seed=0):
    source = generator(seed)
    left = haar_frame(rows, len(values), dtype=torch.float64, generator=source)
    right = haar_frame(columns, len(values), dtype=torch.float64, generator=source)
    return (left * torch.as_tensor(values)) @ right.mT


def least_error(matrix, rank):
    return float(np.sqrt((np.linalg.svd(matrix.numpy(), compute_uv=False)[rank:] ** 2).sum()))


SIZES = st.tuples(st.integers(1, 12), st.integers(1, 60))


@given(SIZES, st.integers(1, 12), st.integers(0, 3))
def test_basis_and_decomposition_have_the_least_error(sizes, rank, seed):
    rank = min(rank, *sizes)
    matrix = torch.randn(2, *sizes, dtype=torch.float64, generator=generator(seed))
    basis = leading_basis(matrix, rank)
    left, values, right = truncated_svd(matrix, rank)
    for k in range(2):
        least = least_error(matrix[k], rank)
        assert torch.linalg.matrix_norm(matrix[k] - basis[k] @ (basis[k].mT @ matrix[k])) <= least + 1e-12
        assert torch.linalg.matrix_norm(matrix[k] - (left[k] * values[k]) @ right[k].mT) <= least + 1e-12
        np.testing.assert_allclose(values[k], np.linalg.svd(matrix[k].numpy(), compute_uv=False)[:rank], atol=1e-12)
        np.testing.assert_allclose(singular_values(matrix[k])[:rank], values[k], atol=1e-12)
        np.testing.assert_allclose(squared_values(matrix[k])[:rank], values[k] ** 2, atol=1e-12)
        part = leading_part(matrix[k], rank)
        np.testing.assert_allclose(part.mT @ part, (basis[k] @ basis[k].mT @ matrix[k]).mT @ matrix[k], atol=1e-11)


@pytest.mark.parametrize("decay", [3.0, 9.0, 15.0])
@pytest.mark.parametrize("sizes", [(16, 5000), (5000, 16)])
def test_small_singular_values_are_kept_apart(sizes, decay):
    values = np.logspace(0, -decay, 16)
    matrix = matrix_of(values, *sizes)
    for rank in (4, 8, 12):
        basis = leading_basis(matrix, rank)
        error = float(torch.linalg.matrix_norm(matrix - basis @ (basis.mT @ matrix)))
        assert error <= 1.01 * np.sqrt((values[rank:] ** 2).sum()) + 1e-14
        np.testing.assert_allclose(basis.mT @ basis, np.eye(rank), atol=1e-13)
    np.testing.assert_allclose(singular_values(matrix), values, atol=1e-14)


@pytest.mark.parametrize("exponent", [0.0, 0.25, 1.0])
def test_few_of_many_singular_vectors_are_within_a_thousandth_of_the_least_error(exponent):
    rows, rank = SMALL + 40, 24
    values = np.arange(1, rows + 1) ** -exponent * np.linspace(1, 0.7, rows)
    matrix = matrix_of(values, rows, rows + 30)
    basis = leading_basis(matrix, rank)
    error = float(torch.linalg.matrix_norm(matrix - basis @ (basis.mT @ matrix)))
    least = np.sqrt((values[rank:] ** 2).sum())
    assert least * (1 - 1e-12) <= error <= least * (1 + 1e-3)
    assert torch.equal(basis, leading_basis(matrix, rank))  # no draw of its own


def test_few_of_many_find_an_exact_rank_exactly():
    matrix = matrix_of(np.linspace(2, 1, 9), SMALL + 40, SMALL + 70)
    for rank in (9, 20):
        left, values, right = truncated_svd(matrix, rank)
        assert relative_error((left * values) @ right.mT, matrix) < 1e-13
        np.testing.assert_allclose(values[:9], np.linspace(2, 1, 9), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_train_is_found_at_its_ranks(dtype):
    shape = TrainShape((2, 3, 2, 2), (3, 2, 2, 3), (2, 3, 4, 5, 4, 3, 2))
    train = SpectralTensorTrain(shape)
    weight = train.to_matrix(train.random(3, dtype=dtype, generator=generator(2)))
    fit = train.from_matrix(weight)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert fit.error.max() < tolerance
    assert relative_error(train.to_matrix(fit.point), weight) < tolerance


def test_square_frames_are_the_identity():
    shape = TrainShape((2, 2, 2), (2, 2, 2), 8)
    fit = SpectralTensorTrain(shape).from_matrix(torch.randn(8, 8, dtype=torch.float64, generator=generator()))
    frames = SpectralTensorTrain(shape).to_frames(fit.point)
    outer = [frame for frame, at in zip(frames, shape.frames, strict=True) if not at.at_center]
    assert outer
    assert all(torch.equal(frame, torch.eye(len(frame), dtype=torch.float64)) for frame in outer)
