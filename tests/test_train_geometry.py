"""The geometric methods of the product manifold, and what a gradient step does to the weight in each geometry."""

import pytest
import torch
from trains import GEOMETRIES, SHAPES, every_train, generator, train_of

from sttp.manifolds import (
    Cayley,
    Exponential,
    Polar,
    Riemannian,
    SpectralTensorTrain,
    TrainPoint,
    TrainTangent,
    orthogonality_error,
)

every_shape = pytest.mark.parametrize("shape", SHAPES)
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


def ambient(point, seed):
    source = generator(seed)
    draw = [torch.randn(x.shape, dtype=x.dtype, generator=source) for x in (*point.coordinates, point.spectrum)]
    return TrainTangent(tuple(draw[:-1]), draw[-1])


def tensors(vector):
    return (*vector.coordinates, vector.spectrum)


def combine(a, u, b, v):
    return TrainTangent(
        tuple(a * x + b * y for x, y in zip(u.coordinates, v.coordinates, strict=True)), a * u.spectrum + b * v.spectrum
    )


def distance(first, second):
    pairs = zip(tensors(first), tensors(second), strict=True)
    return float(sum((a - b).square().sum() for a, b in pairs) ** 0.5)


def setting(shape, geometry, spectrum="free", batch=(2,)):
    train = train_of(shape, geometry, spectrum)
    return train, train.random(*batch, dtype=torch.float64, generator=generator(7))


@every_geometry
@every_shape
def test_random_points_are_feasible_and_stay_so_when_projected(shape, geometry):
    train, point = setting(shape, geometry, batch=(2, 3))
    assert max(float(orthogonality_error(frame).max()) for frame in train.to_frames(point)) < 1e-13
    assert distance(train.projx(point), point) < 1e-12
    if geometry in ("stiefel", "grassmann"):
        noise = ambient(point, 1)
        moved = TrainPoint(
            tuple(x + 0.1 * u for x, u in zip(point.coordinates, noise.coordinates, strict=True)),
            point.spectrum,
            point.signs,
        )
        frames = train.to_frames(train.projx(moved))
        assert max(float(orthogonality_error(frame).max()) for frame in frames) < 1e-13


@every_train
def test_projection_is_linear_idempotent_and_tangent(shape, geometry, spectrum):
    train, point = setting(shape, geometry, spectrum)
    first, second = ambient(point, 1), ambient(point, 2)
    tangent = train.proju(point, first)
    assert distance(train.proju(point, tangent), tangent) < 1e-12
    together = train.proju(point, combine(2.0, first, -3.0, second))
    assert distance(together, combine(2.0, tangent, -3.0, train.proju(point, second))) < 1e-11
    for chart, x, u in zip(train.charts, point.coordinates, tangent.coordinates, strict=True):
        if geometry in ("stiefel", "grassmann"):
            skew = x.mT @ u
            assert (skew + skew.mT).abs().max() < 1e-13
            horizontal = type(chart.manifold).__name__ == "Grassmann"
            assert not horizontal or skew.abs().max() < 1e-13
    assert distance(TrainTangent((), tangent.spectrum), TrainTangent((), first.spectrum)) == 0


STEPS = {
    **GEOMETRIES,
    **{
        f"{geometry}-{retraction}": Riemannian(redundant=geometry == "stiefel", retraction=retraction)
        for geometry in ("stiefel", "grassmann")
        for retraction in (Polar(), Cayley(), Exponential())
    },
}


@pytest.mark.parametrize("geometry", STEPS.values(), ids=STEPS)
@every_shape
def test_retraction_is_feasible_and_first_order(shape, geometry):
    train = SpectralTensorTrain(SHAPES[shape], geometry)
    point = train.random(2, dtype=torch.float64, generator=generator(7))
    tangent = train.proju(point, ambient(point, 1))
    assert distance(train.retr(point, combine(0.0, tangent, 0.0, tangent)), point) < 1e-12
    errors = []
    for t in (1e-3, 1e-4):
        step = combine(t, tangent, 0.0, tangent)
        end = train.retr(point, step)
        assert max(float(orthogonality_error(frame).max()) for frame in train.to_frames(end)) < 1e-12
        straight = TrainTangent(
            tuple(x + u for x, u in zip(point.coordinates, step.coordinates, strict=True)),
            point.spectrum + step.spectrum,
        )
        errors.append(distance(end, straight))
    assert errors[1] < errors[0] / 90 or errors[0] < 1e-12  # of second order in t


@every_geometry
@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
@every_shape
def test_gradient_represents_the_differential_in_the_metric(shape, metric, geometry):
    train = train_of(shape, geometry, "free")
    if geometry in ("stiefel", "grassmann"):
        frames = Riemannian(redundant=GEOMETRIES[geometry].redundant, metric=metric)
        train = SpectralTensorTrain(SHAPES[shape], frames)
    point = train.random(2, dtype=torch.float64, generator=generator(7))
    slope, tangent = ambient(point, 3), train.proju(point, ambient(point, 4))
    gradient = train.egrad2rgrad(point, slope)
    assert distance(train.proju(point, gradient), gradient) < 1e-12
    pairs = zip(tensors(slope), tensors(tangent), strict=True)
    differential = sum((g * u).flatten(1).sum(1) for g, u in pairs)
    torch.testing.assert_close(train.inner(point, gradient, tangent), differential)
    assert train.inner(point, tangent).shape == (2,)
    assert (train.inner(point, tangent) > 0).all()
    torch.testing.assert_close(train.inner(point, tangent), train.inner(point, tangent, tangent))


@every_train
def test_transported_vectors_are_tangent_at_the_end(shape, geometry, spectrum):
    train, point = setting(shape, geometry, spectrum)
    tangent = train.proju(point, ambient(point, 1))
    end = train.retr(point, train.proju(point, ambient(point, 2)))
    moved = train.transp(point, end, tangent)
    assert distance(train.proju(end, moved), moved) < 1e-12
    assert distance(train.transp(point, point, tangent), tangent) < 1e-12


@every_train
def test_gradient_step_descends(shape, geometry, spectrum):
    train, point = setting(shape, geometry, spectrum, batch=())
    target = torch.randn(train.shape.rows, train.shape.columns, dtype=torch.float64, generator=generator(9))

    def cost(weight):
        return torch.log1p((weight - target).square().sum()) + 0.1 * weight.sin().sum()

    leaves = TrainPoint(
        tuple(x.clone().requires_grad_() for x in point.coordinates),
        point.spectrum.clone().requires_grad_(),
        point.signs,
    )
    before = cost(train.to_matrix(leaves))
    slope = torch.autograd.grad(before, tensors(leaves), materialize_grads=True)
    gradient = train.egrad2rgrad(point, TrainTangent(tuple(slope[:-1]), slope[-1]))
    norm = float(train.inner(point, gradient))
    assert norm > 1e-6
    steps = (1e-4, 1e-5)
    drops = [
        float(before.detach() - cost(train.to_matrix(train.retr(point, combine(-t, gradient, 0.0, gradient))))) / t
        for t in steps
    ]
    assert all(drop > 0 for drop in drops)
    assert drops[1] == pytest.approx(norm, rel=1e-2)  # the slope along −grad is −‖grad‖²
