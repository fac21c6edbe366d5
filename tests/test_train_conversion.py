"""Conversion among the four geometries at a fixed W, the canonical form, and TT-SVD from a matrix."""

import math

import numpy as np
import pytest
import torch
from trains import GEOMETRIES, SHAPES, SPECTRA, every_train, generator, relative_error, train_of

from sttp.manifolds import Free, Identity, SpectralTensorTrain, TrainPoint, TrainShape, haar_frame, orthogonality_error

PRECISION = {torch.float64: 1e-12, torch.float32: 1e-5}
every_shape = pytest.mark.parametrize("shape", SHAPES)
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)
every_spectrum = pytest.mark.parametrize("spectrum", SPECTRA)
DEGENERATE = ["truncated-identity", "negative-identity", "zero-top-block", "mixed-signs"]


@every_spectrum
@every_shape
@pytest.mark.parametrize("dtype", PRECISION)
def test_conversion_keeps_the_weight(shape, spectrum, dtype):
    trains = {name: train_of(shape, name, spectrum) for name in GEOMETRIES}
    for source in trains.values():
        point = source.random(2, 3, dtype=dtype, generator=generator(1))
        weight = source.to_matrix(point)
        for target in trains.values():
            converted = source.convert(point, target)
            assert relative_error(target.to_matrix(converted), weight) < PRECISION[dtype]
            assert all(tensor.dtype == dtype for tensor in converted.coordinates)
            assert all(
                tensor.shape == (2, 3, *chart.shape)
                for tensor, chart in zip(converted.coordinates, target.charts, strict=True)
            )


@every_train
def test_converted_frames_are_frames(shape, geometry, spectrum):
    source, target = train_of(shape, "stiefel", spectrum), train_of(shape, geometry, spectrum)
    point = source.convert(source.random(dtype=torch.float64, generator=generator()), target)
    assert max(float(orthogonality_error(frame)) for frame in target.to_frames(point)) < 1e-13


def degenerate_frame(kind, frame):
    identity = torch.eye(frame.rows, frame.columns, dtype=torch.float64)
    signs = -1.0 if kind == "negative-identity" else 1.0
    if kind == "mixed-signs":
        signs = (-1.0) ** torch.arange(frame.columns + frame.left)[-frame.columns :].double()
    if kind in ("zero-top-block", "mixed-signs"):  # zero wherever the frame is tall enough to be
        identity = identity.roll(frame.rows - frame.columns, 0)
    return identity * signs


@pytest.mark.parametrize(
    ("kind", "shape", "spectrum"),
    [
        (kind, shape, list(SPECTRA)[(row + column) % 3])
        for row, kind in enumerate(DEGENERATE)
        for column, shape in enumerate(SHAPES)
    ],
)
def test_conversion_of_degenerate_frames(kind, shape, spectrum):
    source = train_of(shape, "stiefel", spectrum)
    frames = [degenerate_frame(kind, frame) for frame in source.shape.frames]
    values = torch.linspace(2, 1, source.spectrum.size(source.shape.center_rank), dtype=torch.float64)
    point = source.from_frames(frames, values)
    for geometry in GEOMETRIES:
        target = train_of(shape, geometry, spectrum)
        difference = target.to_matrix(source.convert(point, target)) - source.to_matrix(point)
        assert difference.abs().max() < 1e-13


def test_conversion_of_a_large_weight():
    modes = (2,) * 7 + (5,), (2,) * 7 + (5, 9)
    shape = TrainShape(*modes, 64, 640, 5760)
    stiefel = SpectralTensorTrain(shape, GEOMETRIES["stiefel"])
    point = stiefel.random(dtype=torch.float64, generator=generator())
    weight = stiefel.to_matrix(point)
    for geometry in ("grassmann", "householder", "householder-reduced"):
        target = SpectralTensorTrain(shape, GEOMETRIES[geometry])
        converted = stiefel.convert(point, target)
        assert relative_error(target.to_matrix(converted), weight) < 1e-12
        single = TrainPoint(
            tuple(frame.float() for frame in point.coordinates),
            point.spectrum.float(),
            (None,) * len(point.coordinates),
        )
        assert relative_error(target.to_matrix(stiefel.convert(single, target)), weight) < 1e-5


def test_large_weight_fitted():
    modes = (2,) * 7 + (5,), (2,) * 7 + (5, 9)
    shape = TrainShape(*modes, 64, 640, 5760)
    weight = haar_frame(5760, 64, generator=generator()) @ haar_frame(640, 64, generator=generator()).mT
    train = SpectralTensorTrain(shape, GEOMETRIES["householder-reduced"])
    fit = train.from_matrix(weight.mT)
    measured = relative_error(train.to_matrix(fit.point), weight.mT)
    torch.testing.assert_close(float(fit.error), measured, rtol=1e-4, atol=0)


def test_conversion_to_another_weight_space_is_refused():
    train = train_of("svdp", "stiefel", "free")
    for other in (train_of("vector", "stiefel", "free"), train_of("svdp", "stiefel", "identity")):
        with pytest.raises(ValueError, match="target must have this train's shape and spectrum"):
            train.convert(train.random(), other)


def test_wrong_number_of_frames_is_refused():
    train = train_of("svdp", "stiefel", "free")
    with pytest.raises(ValueError, match="frames must be 2 tensors, got 1"):
        train.from_frames([torch.eye(5, 3)], torch.ones(3))


# --- canonical form -------------------------------------------------------------------------------------------------


def same(first, second, tolerance=1e-11):
    tensors = zip((*first.coordinates, first.spectrum), (*second.coordinates, second.spectrum), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in tensors)


@every_train
def test_canonical_form_keeps_the_weight_and_is_idempotent(shape, geometry, spectrum):
    train = train_of(shape, geometry, spectrum)
    point = train.random(3, dtype=torch.float64, generator=generator())
    if point.spectrum.numel():
        point.spectrum.neg_()[..., :1] *= -1  # signs and order are the canonical form's to mend
    canonical = train.canonical(point)
    assert relative_error(train.to_matrix(canonical), train.to_matrix(point)) < 1e-12
    assert same(train.canonical(canonical), canonical)
    values = train.singular_values(canonical)
    assert (values >= 0).all()
    assert (values.diff(dim=-1) <= 0).all()


def gauge_transformed(train, frames, values, seed=3):
    """Rotate every inner bond that is gauge, and swap and flip the singular vectors at the centre."""
    shape = train.shape
    modes, split = shape.row_modes + shape.column_modes, len(shape.row_modes)
    cores = []
    for k, (frame, mode) in enumerate(zip(frames, modes, strict=True)):
        size = (shape.ranks[k], mode, shape.ranks[k + 1])
        cores.append(frame.reshape(size) if k < split else frame.T.reshape(size))
    source = generator(seed)
    for bond in range(1, len(modes)):
        rank = shape.ranks[bond]
        if bond != split or train.spectrum.is_identity:
            rotation = haar_frame(rank, rank, dtype=torch.float64, generator=source)
        else:
            order = torch.randperm(rank, generator=source)
            signs = torch.randint(0, 2, (rank,), generator=source).double() * 2 - 1
            rotation, values = torch.diag(signs)[:, order], values[order]
        cores[bond - 1] = cores[bond - 1] @ rotation
        cores[bond] = torch.einsum("ab,aic->bic", rotation, cores[bond])
    frames = [
        core.reshape(-1, core.shape[2]) if k < split else core.reshape(core.shape[0], -1).T
        for k, core in enumerate(cores)
    ]
    return frames, values


@every_train
def test_canonical_form_is_one_for_all_points_of_a_weight(shape, geometry, spectrum):
    train = train_of(shape, geometry, spectrum)
    point = train.random(dtype=torch.float64, generator=generator())
    frames, values = gauge_transformed(train, train.to_frames(point), point.spectrum)
    other = train.from_frames(frames, values)
    assert relative_error(train.to_matrix(other), train.to_matrix(point)) < 1e-12  # the transformation is gauge
    assert same(train.canonical(other), train.canonical(point))


# --- from a matrix --------------------------------------------------------------------------------------------------


def unfolding_tails(matrix, shape):
    """Return for each bond what the best matrix of that rank leaves of the unfolding: no train can do better."""
    tensor = np.zeros((shape.padded_rows, shape.padded_columns))
    tensor[: shape.rows, : shape.columns] = matrix
    modes = shape.row_modes + shape.column_modes
    tails = []
    for bond in range(1, len(modes)):
        unfolding = tensor.reshape(math.prod(modes[:bond]), -1)
        tails.append(np.linalg.norm(np.linalg.svd(unfolding, compute_uv=False)[shape.ranks[bond] :]))
    return tails


@every_geometry
@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "padded"])
@pytest.mark.parametrize("dtype", PRECISION)
def test_matrix_of_that_rank_is_found_exactly(shape, geometry, dtype):
    train = train_of(shape, geometry, "free")
    matrix = train.to_matrix(train.random(2, dtype=dtype, generator=generator()))
    fit = train.from_matrix(matrix)
    assert relative_error(train.to_matrix(fit.point), matrix) < PRECISION[dtype]
    assert fit.error.shape == fit.scale.shape == (2,)
    assert fit.error.max() < PRECISION[dtype]
    assert (fit.scale == 1).all()
    assert fit.error.dtype == fit.point.spectrum.dtype == fit.point.coordinates[0].dtype == dtype


@every_geometry
@every_shape
def test_error_of_any_matrix_lies_between_the_bounds(shape, geometry):
    train = train_of(shape, geometry, "free")
    sizes = train.shape.rows, train.shape.columns
    matrices = torch.randn(4, *sizes, dtype=torch.float64, generator=generator())
    fit = train.from_matrix(matrices)
    found = torch.linalg.matrix_norm(train.to_matrix(fit.point) - matrices)
    torch.testing.assert_close(found, fit.error * torch.linalg.matrix_norm(matrices), rtol=0, atol=1e-12)
    for matrix, error in zip(matrices.numpy(), found.numpy(), strict=True):
        tails = unfolding_tails(matrix, train.shape)
        assert error <= np.linalg.norm(tails) + 1e-12  # Oseledets 2011, Thm. 2.2: at most √bonds times the best
        if not train.shape.pad:  # what is cut off again may only lower the error
            assert error >= max(tails) - 1e-12


def test_noise_is_filtered():
    shape = TrainShape((2, 3, 2), (2, 2, 3), 2)
    train = SpectralTensorTrain(shape)
    exact = train.to_matrix(train.random(dtype=torch.float64, generator=generator()))
    noisy = exact + 1e-3 * torch.randn(exact.shape, dtype=exact.dtype, generator=generator(1))
    fitted = train.to_matrix(train.from_matrix(noisy).point)
    assert (fitted - exact).norm() < 0.8 * (noisy - exact).norm()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_dropped_scale_is_told(geometry):
    matrix = 3 * haar_frame(6, 4, dtype=torch.float64, generator=generator())
    shape = TrainShape((6,), (4,), 4)
    fit = SpectralTensorTrain(shape, GEOMETRIES[geometry], Identity()).from_matrix(matrix)
    train = SpectralTensorTrain(shape, GEOMETRIES[geometry], Identity())
    assert relative_error(fit.scale * train.to_matrix(fit.point), matrix) < 1e-12
    lipschitz = SpectralTensorTrain(shape, GEOMETRIES[geometry], SPECTRA["lipschitz"])
    matrix = matrix * torch.tensor([4.0, 3, 2, 1], dtype=torch.float64)
    fit = lipschitz.from_matrix(matrix)
    torch.testing.assert_close(float(fit.scale), 12.0)
    assert relative_error(fit.scale * lipschitz.to_matrix(fit.point), matrix) < 1e-12


@every_geometry
@every_shape
def test_zero_matrix_is_a_point(shape, geometry):
    train = train_of(shape, geometry, "free")
    fit = train.from_matrix(torch.zeros(train.shape.rows, train.shape.columns))
    assert fit.error == 0
    assert not train.to_matrix(fit.point).any()
    assert max(float(orthogonality_error(frame)) for frame in train.to_frames(fit.point)) < 1e-6


def test_bad_matrices_are_refused():
    train = SpectralTensorTrain(TrainShape((2, 2), (3,), 2), spectrum=Free())
    with pytest.raises(ValueError, match=r"matrix must have shape \(\.\.\., 4, 3\), got \(3, 4\)"):
        train.from_matrix(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        train.from_matrix(torch.full((4, 3), math.nan))
    for dtype in (torch.bfloat16, torch.float16, torch.int64):
        with pytest.raises(TypeError, match=r"matrix must be float32 or float64, got torch\."):
            train.from_matrix(torch.zeros(4, 3, dtype=dtype))
