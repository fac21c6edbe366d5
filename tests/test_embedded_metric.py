"""The embedded metric of a train against finite differences of W and the Jacobian of its unconstrained cores."""

import math

import pytest
import torch
from trains import GEOMETRIES, SHAPES, SPECTRA, generator, relative_error

from sttp.manifolds import (
    Embedded,
    Free,
    Householder,
    Identity,
    Lipschitz,
    Riemannian,
    SpectralTensorTrain,
    TrainPoint,
    TrainShape,
    TrainTangent,
)

UNPADDED = [name for name in SHAPES if name != "padded"]
every_shape = pytest.mark.parametrize("shape", UNPADDED)
every_spectrum = pytest.mark.parametrize("spectrum", ["free", "identity"])


def embedded_or(metric, damping):
    return Embedded(damping) if metric == "embedded" else metric


def embedded(shape, spectrum="free", damping=0.0):
    return SpectralTensorTrain(
        SHAPES.get(shape, shape), Riemannian(redundant=False, metric=Embedded(damping=damping)), SPECTRA[spectrum]
    )


def random_point(train, *batch, seed=7, values=None):
    point = train.random(*batch, dtype=torch.float64, generator=generator(seed))
    return point if values is None else TrainPoint(point.coordinates, values.expand_as(point.spectrum), point.signs)


def ambient(point, seed):
    source = generator(seed)
    draws = [torch.randn(x.shape, dtype=x.dtype, generator=source) for x in tensors(point)]
    return TrainTangent(tuple(draws[:-1]), draws[-1])


def random_tangent(train, point, seed):
    return train.proju(point, ambient(point, seed))


def random_matrix(train, *batch, seed=9):
    return torch.randn(*batch, train.shape.rows, train.shape.columns, dtype=torch.float64, generator=generator(seed))


def tensors(vector):
    return (*vector.coordinates, vector.spectrum)


def moved(point, step, tangent):
    """Return the point plus a multiple of the tangent, off the manifold: W is a polynomial of all its entries."""
    frames = tuple(x + step * u for x, u in zip(point.coordinates, tangent.coordinates, strict=True))
    return TrainPoint(frames, point.spectrum + step * tangent.spectrum, point.signs)


def finite_difference(train, point, tangent):
    step = 1e-5
    ahead, behind = (train.to_matrix(moved(point, sign * step, tangent)) for sign in (1, -1))
    return (ahead - behind) / (2 * step)


def frobenius(first, second):
    return (first * second).sum(dim=(-2, -1))


def dot(first, second):
    """Return the sum over all entries of two vectors, for each point of the one batch dimension."""
    return sum((a * b).flatten(1).sum(1) for a, b in zip(tensors(first), tensors(second), strict=True))


def euclidean_gradient(train, point, cost):
    leaves = TrainPoint(
        tuple(x.clone().requires_grad_() for x in point.coordinates),
        point.spectrum.clone().requires_grad_(),
        point.signs,
    )
    value = cost(train.to_matrix(leaves))
    slope = torch.autograd.grad(value, tensors(leaves), materialize_grads=True)
    return TrainTangent(tuple(slope[:-1]), slope[-1])


def cores_of(train, point):
    """Return the cores of W as a plain train, the singular values in the last core of U."""
    shape = train.shape
    frames = train.to_frames(point)
    split = len(shape.row_modes)
    frames[split - 1] = frames[split - 1] * train.singular_values(point).unsqueeze(-2)
    cores = []
    for frame, size in zip(frames, shape.frames, strict=True):
        if size.left:
            cores.append(frame.reshape(size.outer_rank, size.mode, size.columns))
        else:
            cores.append(frame.reshape(size.mode, size.outer_rank, size.columns).permute(2, 0, 1))
    return tuple(cores)


def dense_projection(train, point, matrix):
    """Project by the left singular vectors of the Jacobian of unconstrained cores ↦ W, found by torch.func.jacrev."""

    def weight(*cores):
        tensor = cores[0]
        for core in cores[1:]:
            tensor = torch.tensordot(tensor, core, dims=1)
        return tensor.reshape(-1)

    cores = cores_of(train, point)
    blocks = torch.func.jacrev(weight, argnums=tuple(range(len(cores))))(*cores)
    jacobian = torch.cat([block.flatten(1) for block in blocks], dim=1)
    basis, values, _ = torch.linalg.svd(jacobian, full_matrices=False)
    basis = basis[:, values > 1e-10 * values[0]]
    return (basis @ (basis.mT @ matrix.reshape(-1))).reshape(matrix.shape), basis.shape[1]


# --- inner product ---


@every_spectrum
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=["single", "batch"])
@every_shape
def test_inner_product_is_that_of_the_changes_of_the_matrix(shape, batch, spectrum):
    train = embedded(shape, spectrum)
    point = random_point(train, *batch)
    first, second = random_tangent(train, point, 1), random_tangent(train, point, 2)
    differences = [finite_difference(train, point, tangent) for tangent in (first, second)]
    inner = train.inner(point, first, second)
    assert inner.shape == batch
    scale = torch.linalg.matrix_norm(differences[0]) * torch.linalg.matrix_norm(differences[1])
    assert ((inner - frobenius(*differences)).abs() < 1e-8 * (1 + scale)).all()
    torch.testing.assert_close(
        train.inner(point, first), frobenius(differences[0], differences[0]), rtol=1e-8, atol=1e-8
    )
    torch.testing.assert_close(train.differential(point, first), differences[0], rtol=1e-8, atol=1e-8)


def test_inner_product_with_singular_values_of_any_sign_and_none():
    train = embedded("bound-by-rank")
    point = random_point(train, 2, values=torch.tensor([-1.5, 0.0, 1.5], dtype=torch.float64))
    first, second = random_tangent(train, point, 1), random_tangent(train, point, 2)
    expected = frobenius(finite_difference(train, point, first), finite_difference(train, point, second))
    torch.testing.assert_close(train.inner(point, first, second), expected, rtol=1e-8, atol=1e-8)


@every_spectrum
@every_shape
def test_damping_adds_the_euclidean_metric_of_the_frames(shape, spectrum):
    damping = 0.3
    plain, damped = embedded(shape, spectrum), embedded(shape, spectrum, damping)
    point = random_point(plain, 2)
    first, second = random_tangent(plain, point, 1), random_tangent(plain, point, 2)
    largest = plain.singular_values(point).abs().amax(dim=-1)
    frames = sum(frobenius(u, v) for u, v in zip(first.coordinates, second.coordinates, strict=True))
    added = damped.inner(point, first, second) - plain.inner(point, first, second)
    torch.testing.assert_close(added, damping * largest**2 * frames)


def test_metric_of_a_padded_train_is_that_of_the_matrix_before_it_is_cut():
    padded = embedded("padded")
    shape = padded.shape
    uncut = embedded(TrainShape(shape.row_modes, shape.column_modes, shape.rank))
    point = random_point(padded, 2)
    tangent = random_tangent(padded, point, 1)
    torch.testing.assert_close(
        padded.inner(point, tangent), uncut.differential(point, tangent).square().sum(dim=(-2, -1))
    )
    assert (padded.inner(point, tangent) > padded.differential(point, tangent).square().sum(dim=(-2, -1))).all()


# --- gradient ---


@every_spectrum
@pytest.mark.parametrize("damping", [0.0, 1e-10, 1e-3])  # the pseudo-inverse, a damping lost in rounding, and enough
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_tangent_and_represents_the_differential(shape, damping, spectrum):
    train = embedded(shape, spectrum, damping)
    size = train.shape.center_rank
    values = torch.linspace(2.0, 1.0, size, dtype=torch.float64) if spectrum == "free" else None
    point = random_point(train, 3, values=values)
    # The slope of a cost of W: any other slope could lie in the kernel of an undamped metric.
    target = random_matrix(train, 3)
    slope = euclidean_gradient(train, point, lambda weight: ((weight - target).square() / 2).sum())
    gradient = train.egrad2rgrad(point, slope)
    again = train.proju(point, gradient)
    for one, other in zip(tensors(gradient), tensors(again), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    for seed in range(3):
        tangent = random_tangent(train, point, seed)
        torch.testing.assert_close(train.inner(point, gradient, tangent), dot(slope, tangent), rtol=1e-9, atol=1e-10)


DEGENERATE = {
    "equal": (1.0, 1.0, 1.0),
    "opposite": (1.0, -1.0, 1.0),
    "equal-to-rounding": (1.0, 1.0 + 2**-23, 1.0 - 2**-23),
    "one-zero": (2.0, 1.0, 0.0),
    "two-zeros": (1.0, 0.0, 0.0),
    "all-zero": (0.0, 0.0, 0.0),
    "negative": (-1.0, -2.0, -3.0),
    "tiny": (1.0, 1e-15, 1e-30),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("damping", [0.0, 1e-10, 1e-3])
@pytest.mark.parametrize("values", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("shape", ["bound-by-rank", "svdp"])
def test_gradient_is_moderate_where_the_metric_is_degenerate(shape, values, damping, dtype):
    train = embedded(shape, damping=damping)
    point = train.random(2, dtype=dtype, generator=generator(7))
    point = TrainPoint(point.coordinates, torch.tensor(values, dtype=dtype).expand_as(point.spectrum), point.signs)
    target = random_matrix(train, 2).to(dtype)
    slope = euclidean_gradient(train, point, lambda weight: (weight * target).sum())
    gradient = train.egrad2rgrad(point, slope)
    assert all(tensor.isfinite().all() for tensor in tensors(gradient))
    squared_norm = train.inner(point, gradient)
    # ‖grad‖² = ‖P A‖² ≤ ‖A‖² for the cost ⟨W, A⟩, and damping makes it less.
    assert (squared_norm <= 1.01 * target.square().sum(dim=(-2, -1))).all()
    assert (squared_norm > 0).all()
    assert all(tensor.isfinite().all() for tensor in tensors(train.retr(point, gradient)))


def test_gradient_without_damping_rests_where_nothing_moves_the_matrix():
    """At s = (1, 1, 1) a rotation common to U and V does nothing: the gradient has none of it."""
    train = embedded("svdp")
    point = random_point(train, values=torch.ones(3, dtype=torch.float64))
    slope = euclidean_gradient(train, point, lambda weight: (weight * random_matrix(train)).sum())
    gradient = train.egrad2rgrad(point, slope)
    left, right = (frame.mT @ vector for frame, vector in zip(point.coordinates, gradient.coordinates, strict=True))
    torch.testing.assert_close(left, -right, rtol=0, atol=1e-13)
    assert left.abs().max() > 0.01


# --- projection of matrices ---

DENSE = ["bound-by-rank", "bound-by-modes", "rank-one", "modes-of-one", "svdp", "svdp-square", "vector"]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("shape", DENSE)
def test_projection_agrees_with_the_dense_one(shape, geometry):
    train = SpectralTensorTrain(SHAPES[shape], GEOMETRIES[geometry])
    point = random_point(train)
    matrix = random_matrix(train)
    expected, rank = dense_projection(train, point, matrix)
    assert rank == train.degrees_of_freedom
    torch.testing.assert_close(train.project_matrix(point, matrix), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, -2.0, 1.0), (1.0, 1.0 + 1e-15, 1.0), (1.0, 1e-4, 1e-4)])
@pytest.mark.parametrize("shape", ["bound-by-rank", "svdp"])
def test_projection_where_singular_values_agree_or_are_small(shape, values):
    """The weights of fixed ranks are smooth there, though frames and spectrum do not parameterize them smoothly."""
    train = SpectralTensorTrain(SHAPES[shape])
    point = random_point(train, values=torch.tensor(values, dtype=torch.float64))
    matrix = random_matrix(train)
    expected, rank = dense_projection(train, point, matrix)
    assert rank == train.degrees_of_freedom
    torch.testing.assert_close(train.project_matrix(point, matrix), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@every_shape
def test_projection_is_idempotent_and_self_adjoint_and_keeps_the_weight(shape, geometry):
    train = SpectralTensorTrain(SHAPES[shape], GEOMETRIES[geometry])
    point = random_point(train, 2)
    first, second = random_matrix(train, 2, seed=1), random_matrix(train, 2, seed=2)
    projected = train.project_matrix(point, first)
    torch.testing.assert_close(train.project_matrix(point, projected), projected, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        frobenius(projected, second), frobenius(first, train.project_matrix(point, second)), rtol=0, atol=1e-10
    )
    weight = train.to_matrix(point)
    assert relative_error(train.project_matrix(point, weight), weight) < 1e-11
    tangent = train.differential(point, random_tangent(train, point, 5))
    torch.testing.assert_close(train.project_matrix(point, tangent), tangent, rtol=0, atol=1e-10)


def test_projection_in_float32_with_the_parameters_of_a_layer():
    train = SpectralTensorTrain(SHAPES["bound-by-rank"])
    exact = random_point(train)
    matrix = random_matrix(train)
    rough = TrainPoint(
        tuple(torch.nn.Parameter(x.float()) for x in exact.coordinates),
        torch.nn.Parameter(exact.spectrum.float()),
        exact.signs,
    )
    with torch.no_grad():
        projected = train.project_matrix(rough, matrix.float())
    assert relative_error(projected, train.project_matrix(exact, matrix)) < 1e-4


@pytest.mark.parametrize(
    ("train", "matrix", "message"),
    [
        (SpectralTensorTrain(SHAPES["svdp"], spectrum=Identity()), (5, 4), "spectrum must be Free"),
        (SpectralTensorTrain(SHAPES["svdp"], spectrum=Lipschitz()), (5, 4), "spectrum must be Free"),
        (SpectralTensorTrain(SHAPES["padded"]), (5, 7), "shape must not be padded"),
        (SpectralTensorTrain(SHAPES["svdp"]), (4, 5), r"matrix must have the shape \(5, 4\)"),
        (SpectralTensorTrain(SHAPES["svdp"]), (3, 5, 4), r"got \(3, 5, 4\)"),
    ],
)
def test_projection_refuses_what_it_cannot_project(train, matrix, message):
    with pytest.raises(ValueError, match=message):
        train.project_matrix(random_point(train), torch.zeros(matrix, dtype=torch.float64))


# --- what the gradient does to the weight ---


def weight_change(train, point, matrix):
    """Return δW along the gradient of ⟨W, matrix⟩."""
    slope = euclidean_gradient(train, point, lambda weight: (weight * matrix).sum())
    return train.differential(point, train.egrad2rgrad(point, slope))


def test_gradient_does_the_same_to_the_weight_in_every_basis():
    train = embedded("bound-by-rank")
    point = random_point(train)
    matrix = random_matrix(train)
    # The frame that is second in the chain and its neighbour at the centre: the bond between them in another basis.
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator(3)))[0]
    frames = list(point.coordinates)
    turned = torch.einsum("ab,bmp->amp", rotation.mT, frames[1].reshape(3, 2, 3)).reshape(6, 3)
    frames[:2] = [frames[0] @ rotation, turned]
    other = TrainPoint(tuple(frames), point.spectrum, point.signs)
    assert relative_error(train.to_matrix(other), train.to_matrix(point)) < 1e-14
    assert (other.coordinates[0] - point.coordinates[0]).norm() > 0.1
    change = weight_change(train, point, matrix)
    torch.testing.assert_close(weight_change(train, other, matrix), change, rtol=0, atol=1e-10)
    torch.testing.assert_close(change, train.project_matrix(point, matrix), rtol=0, atol=1e-10)


def test_gradient_knows_nothing_of_where_the_centre_is():
    """Wherever a train has its centre, its tensors are the same: the embedded gradient alone moves them alike."""
    modes, ranks = (2, 3, 2, 2, 3), 3
    changes = {"embedded": [], "euclidean": []}
    tensor = None
    for split in (1, 2, 3, 4):
        shape = TrainShape(modes[:split], modes[split:], ranks)
        for metric, found in changes.items():
            train = SpectralTensorTrain(shape, Riemannian(redundant=False, metric=embedded_or(metric, 0.0)))
            if tensor is None:
                tensor = train.to_matrix(random_point(train))
            fit = train.from_matrix(tensor.reshape(shape.rows, shape.columns))
            assert fit.error < 1e-14
            matrix = torch.randn(modes, dtype=torch.float64, generator=generator(4)).reshape(shape.rows, shape.columns)
            found.append(weight_change(train, fit.point, matrix).reshape(modes))
    for other in changes["embedded"][1:]:
        torch.testing.assert_close(other, changes["embedded"][0], rtol=0, atol=1e-10)
    for other in changes["euclidean"][1:]:
        assert (other - changes["euclidean"][0]).norm() > 0.1 * changes["euclidean"][0].norm()


@pytest.mark.parametrize("shape", ["bound-by-rank", "bound-by-modes", "modes-of-one", "svdp"])
def test_a_small_gradient_step_is_a_step_along_the_projected_residual(shape):
    train = embedded(shape)
    point = random_point(train)
    target = random_matrix(train)
    weight = train.to_matrix(point)
    slope = euclidean_gradient(train, point, lambda matrix: (matrix - target).square().sum() / 2)
    gradient = train.egrad2rgrad(point, slope)
    expected = -train.project_matrix(point, weight - target)
    errors = []
    for step in (1e-5, 1e-6):
        tangent = TrainTangent(tuple(-step * x for x in gradient.coordinates), -step * gradient.spectrum)
        change = (train.to_matrix(train.retr(point, tangent)) - weight) / step
        errors.append(float((change - expected).norm() / expected.norm()))
    assert errors[0] < 1e-2
    assert errors[1] < errors[0] / 8 or errors[1] < 1e-8  # what is left is of second order in the step


# --- construction ---


def test_arguments_that_have_no_embedded_metric_are_refused():
    with pytest.raises(ValueError, match="redundant=False"):
        Riemannian(metric="embedded")
    for damping in (-1e-3, math.nan):
        with pytest.raises(ValueError, match="damping must be finite and at least 0"):
            Riemannian(redundant=False, metric=Embedded(damping=damping))
    with pytest.raises(ValueError, match="metric"):
        Riemannian(redundant=False, metric="embeded")
    frames = Riemannian(redundant=False, metric="embedded")
    with pytest.raises(ValueError, match=r"Free\(\) or Identity\(\), got Lipschitz"):
        SpectralTensorTrain(SHAPES["svdp"], frames, Lipschitz())
    source = SpectralTensorTrain(SHAPES["bound-by-rank"], Householder())
    point = random_point(source)
    converted = source.convert(point, SpectralTensorTrain(SHAPES["bound-by-rank"], frames, Free()))
    assert relative_error(embedded("bound-by-rank").to_matrix(converted), source.to_matrix(point)) < 1e-13
