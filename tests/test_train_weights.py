"""From parameters to weights: W is the train of the definition, and the map reaches as many dimensions as there are."""

import math

import numpy as np
import pytest
import torch
from trains import GEOMETRIES, SHAPES, SPECTRA, TRAINS, contract, every_train, generator, train_of

from sttp.manifolds import TrainPoint, orthogonality_error

every_shape = pytest.mark.parametrize("shape", SHAPES)
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)
every_spectrum = pytest.mark.parametrize("spectrum", SPECTRA)


@every_train
def test_weight_is_the_train_of_its_definition(shape, geometry, spectrum):
    train = train_of(shape, geometry, spectrum)
    point = train.random(dtype=torch.float64, generator=generator())
    expected = contract(train.shape, train.to_frames(point), train.singular_values(point))
    np.testing.assert_allclose(train.to_matrix(point).numpy(), expected, atol=1e-13)


@every_geometry
@every_shape
def test_spectrum_is_that_of_the_matrix(shape, geometry):
    train = train_of(shape, geometry, "free")
    if train.shape.pad:
        pytest.skip("cutting rows off changes the spectrum")
    point = train.random(2, dtype=torch.float64, generator=generator())
    expected = np.linalg.svd(train.to_matrix(point).numpy(), compute_uv=False)
    values = -np.sort(-train.singular_values(point).abs().numpy(), axis=-1)
    np.testing.assert_allclose(expected[:, : train.shape.center_rank], values, atol=1e-13)
    np.testing.assert_allclose(expected[:, train.shape.center_rank :], 0, atol=1e-13)


@every_shape
def test_factors_are_frames(shape):
    train = train_of(shape, "stiefel", "free")
    left, _, right = train.factors(train.random(3, dtype=torch.float64, generator=generator()))
    if not train.shape.pad:
        assert orthogonality_error(left).max() < 1e-13
        assert orthogonality_error(right).max() < 1e-13


def test_spectra_normalize():
    values = torch.tensor([[3.0, -4.0, 1.0], [0.5, 0.25, -0.125]])
    torch.testing.assert_close(
        SPECTRA["lipschitz"].values(values, 3), torch.tensor([[0.75, -1, 0.25], [1, 0.5, -0.25]])
    )
    assert SPECTRA["free"].values(values, 3) is values
    assert SPECTRA["identity"].values(values[..., :0], 3).tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_fitted_spectrum_times_the_dropped_scale_is_the_nearest(spectrum):
    values = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    parameter, scale = SPECTRA[spectrum].fit(values)
    held = SPECTRA[spectrum].values(parameter, 3) * scale
    if spectrum == "identity":  # ones carry the Frobenius norm and no more
        torch.testing.assert_close(held.norm(), values.norm())
    else:
        torch.testing.assert_close(held, values)


def test_zero_spectrum_has_no_direction_to_keep():
    parameter, scale = SPECTRA["lipschitz"].fit(torch.zeros(2, 3))
    assert parameter.tolist() == [[1, 1, 1]] * 2
    assert scale.tolist() == [0, 0]


def coordinates(point):
    return (*point.coordinates, point.spectrum)


def jacobian_rank(train, point):
    """Return the rank of parameters → W restricted to tangent directions, and the singular values next to the gap."""
    tensors = coordinates(point)

    def weight(*parameters):
        return train.to_matrix(TrainPoint(parameters[:-1], parameters[-1], point.signs)).flatten()

    blocks = torch.autograd.functional.jacobian(weight, tensors)
    manifolds = [chart.manifold for chart in train.charts] + [None]
    columns = []
    for tensor, block, manifold in zip(tensors, blocks, manifolds, strict=True):
        size = tensor.numel()
        basis = torch.eye(size, dtype=tensor.dtype).reshape(size, *tensor.shape)
        if manifold is not None:
            basis = manifold.proju(tensor.expand(basis.shape), basis)
        columns.append(block.reshape(len(block), size) @ basis.reshape(size, size).T)
    values = np.linalg.svd(torch.cat(columns, 1).numpy(), compute_uv=False)
    rank = int((values > 1e-9 * values[0]).sum())
    smallest, next_one = values[rank - 1], values[rank] if rank < len(values) else 0.0
    assert smallest > 1e3 * next_one  # a gap that leaves no doubt
    return rank


def generic_point(train):
    point = train.random(dtype=torch.float64, generator=generator(1))
    if point.spectrum.numel():
        point = TrainPoint(point.coordinates, torch.linspace(1.0, 2.0, point.spectrum.numel()).double(), point.signs)
    return point


@pytest.mark.parametrize(("shape", "geometry", "spectrum"), [train for train in TRAINS if train[0] != "padded"])
def test_parameters_reach_the_degrees_of_freedom(shape, geometry, spectrum):
    train = train_of(shape, geometry, spectrum)
    scale_does_nothing = spectrum == "lipschitz"
    assert jacobian_rank(train, generic_point(train)) == train.degrees_of_freedom - scale_does_nothing


@every_geometry
def test_equal_singular_values_cost_a_rotation(geometry):
    train = train_of("bound-by-rank", geometry, "free")
    point = generic_point(train)
    equal = TrainPoint(point.coordinates, torch.ones_like(point.spectrum), point.signs)
    rank = train.shape.center_rank
    assert jacobian_rank(train, equal) == train.degrees_of_freedom - rank * (rank - 1) // 2


@every_spectrum
@every_shape
def test_surplus_of_a_redundant_train_is_its_gauge(shape, spectrum):
    reduced = train_of(shape, "householder-reduced", spectrum)
    assert reduced.dimension == reduced.degrees_of_freedom
    center = len(SHAPES[shape].row_modes)
    gauge = [rank for k, rank in enumerate(SHAPES[shape].ranks) if spectrum == "identity" or k != center]
    surplus = sum(rank * (rank - 1) // 2 for rank in gauge)
    assert train_of(shape, "stiefel", spectrum).dimension == reduced.dimension + surplus
    assert train_of(shape, "householder", spectrum).dimension == reduced.dimension + surplus
    assert train_of(shape, "grassmann", spectrum).dimension == reduced.dimension


@every_spectrum
@every_shape
def test_householder_parameters_are_as_many_as_dimensions(shape, spectrum):
    for geometry in ("householder", "householder-reduced"):
        train = train_of(shape, geometry, spectrum)
        point = train.random()
        assert sum(tensor.numel() for tensor in coordinates(point)) == train.dimension
        assert sum(math.prod(chart.shape) for chart in train.charts) + point.spectrum.numel() == train.dimension


@every_train
def test_tangent_spaces_have_the_dimension(shape, geometry, spectrum):
    train = train_of(shape, geometry, spectrum)
    point = train.random(dtype=torch.float64, generator=generator())
    dimension = point.spectrum.numel()
    for chart, x in zip(train.charts, point.coordinates, strict=True):
        basis = torch.eye(x.numel(), dtype=x.dtype).reshape(x.numel(), *x.shape)
        tangents = chart.manifold.proju(x.expand(basis.shape), basis).reshape(x.numel(), x.numel())
        dimension += int(torch.linalg.matrix_rank(tangents, atol=1e-9)) if x.numel() else 0
    assert dimension == train.dimension


@every_geometry
def test_trains_are_equal_by_what_they_are(geometry):
    train = train_of("svdp", geometry, "free")
    assert train == train_of("svdp", geometry, "free")
    assert hash(train) == hash(train_of("svdp", geometry, "free"))
    assert train != train_of("svdp", geometry, "lipschitz")
    assert train != train_of("padded", geometry, "free")
    assert train.geometry.name == geometry


def test_same_seed_same_point():
    train = train_of("bound-by-rank", "stiefel", "free")
    first, second = (train.random(2, generator=generator(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(coordinates(first), coordinates(second), strict=True))
