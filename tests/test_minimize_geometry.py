"""What full-batch methods ask of a space: slopes, Hessians and transports, on any manifold and on products of them."""

import geoopt
import pytest
import torch
from manifold_registry import ROWS
from torch import Tensor, nn

from sttp.manifolds import (
    QR,
    Grassmann,
    Polar,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainShape,
    checks,
    parameter_manifolds,
)
from sttp.optim.deterministic._problem import Evaluation, Problem
from sttp.optim.deterministic._space import ParameterSpace

SHAPES = ((5, 1), (4, 4), (7, 3), (2, 6, 2))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parameter(manifold: geoopt.Manifold, point: Tensor) -> geoopt.ManifoldParameter:
    return geoopt.ManifoldParameter(point.detach().clone(), manifold=manifold)


def frame(manifold: geoopt.Manifold, shape: tuple[int, ...]) -> geoopt.ManifoldParameter:
    return parameter(manifold, torch.linalg.qr(draw(*shape))[0])


def embedded_train() -> list[Tensor]:
    train = SpectralTensorTrain(
        TrainShape((2, 3), (3, 2), 2), Riemannian(redundant=False, metric="embedded", retraction=Polar())
    )
    point = train.random(dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tensors = [*point.coordinates, point.spectrum]
    return [parameter(m, x) for m, x in zip(parameter_manifolds(train), tensors, strict=True)]


# Manifolds of geoopt, a product of a plain tensor and equal and unequal frames, and a train with one metric.
OTHERS = {
    "plain": lambda: [nn.Parameter(draw(4, 3)), nn.Parameter(draw())],
    "sphere": lambda: [parameter(geoopt.Sphere(), draw(3, 5) / draw(3, 5).norm(dim=-1, keepdim=True))],
    "ball": lambda: [parameter(geoopt.PoincareBall(), 0.3 * draw(4) / draw(4).norm())],
    "positive-definite": lambda: [
        parameter(geoopt.SymmetricPositiveDefinite(), torch.eye(3, dtype=torch.float64) + draw(3, 2) @ draw(3, 2).mT)
    ],
    "geoopt-stiefel": lambda: [frame(geoopt.EuclideanStiefel(), (5, 2))],
    "product": lambda: [
        frame(Stiefel("canonical"), (5, 2)),
        nn.Parameter(draw(3)),
        frame(Grassmann(Polar()), (4, 2)),
        frame(Stiefel("canonical"), (5, 2)),
    ],
    "embedded": embedded_train,
}


def make_problem(parameters: list[Tensor], is_invariant: bool = False) -> Problem:
    """Return a problem whose cost has first, second and higher derivatives in every entry of the parameters."""
    forms = [draw(p.shape[-2], p.shape[-2], seed=3) if is_invariant else draw(*p.shape, seed=3) for p in parameters]
    pairs = list(zip(forms, parameters, strict=True))

    def cost() -> Tensor:
        if is_invariant:  # under X → XQ
            return sum(
                ((form @ p) * p).sum(dim=(-2, -1)).sin().sum() for form, p in zip(forms, parameters, strict=True)
            )
        joint = sum((form * p).sum() for form, p in pairs)
        return joint.sin() + sum(((p * form).square() + p**3).sum() for form, p in pairs)

    return Problem(cost, ParameterSpace(parameters), second_order=True)


def tangent(evaluation: Evaluation, seed: int) -> Tensor:
    space, point = evaluation.problem.space, evaluation.point
    vector = space.project(point, draw(space.size, seed=seed))
    return vector / max(space.norm(point, vector), 1e-3)


def check_slopes(problem: Problem) -> None:
    space = problem.space
    start = problem.evaluate(space.read())
    direction = tangent(start, 1) / 2
    slope = float(space.inner(start.point, start.gradient, direction))
    assert slope == pytest.approx(slope_by_differences(problem, start, direction, 0.0), rel=1e-6, abs=1e-6)
    for length in (0.3, 1.0):
        end = problem.evaluate(space.retract(start.point, length * direction))
        slope = space.velocity_product(start.point, direction, length, end.point, end.euclidean_gradient)
        assert slope == pytest.approx(slope_by_differences(problem, start, direction, length), rel=1e-6, abs=1e-6)


def slope_by_differences(problem: Problem, start: Evaluation, direction: Tensor, length: float) -> float:
    h = 1e-5
    ends = [problem.space.retract(start.point, (length + step) * direction) for step in (h, -h)]
    ahead, behind = (problem.evaluate(end).cost for end in ends)
    return (ahead - behind) / (2 * h)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_slopes_along_the_curves_of_every_retraction(row) -> None:
    for shape in ((6, 2), (2, 5, 3)):
        check_slopes(make_problem([frame(row.manifold, shape)], row.is_quotient))


@pytest.mark.parametrize("name", OTHERS)
def test_slopes_on_other_manifolds(name: str) -> None:
    check_slopes(make_problem(OTHERS[name]()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("manifold", [Stiefel(), Stiefel("canonical"), Grassmann()], ids=lambda m: m.name)
def test_hessian_is_riemannian_whatever_the_retraction(manifold: geoopt.Manifold, shape: tuple[int, ...]) -> None:
    assert_riemannian_hessian(manifold, frame(manifold, shape))


@pytest.mark.parametrize("name", ["sphere", "positive-definite"])
def test_hessian_is_riemannian_where_the_retraction_is_of_second_order(name: str) -> None:
    (point,) = OTHERS[name]()
    assert_riemannian_hessian(point.manifold, point)


def assert_riemannian_hessian(manifold: geoopt.Manifold, point: geoopt.ManifoldParameter) -> None:
    problem = make_problem([point], isinstance(manifold, Grassmann))
    evaluation = problem.evaluate(problem.space.read())
    if (
        problem.space.norm(evaluation.point, problem.space.project(evaluation.point, draw(problem.space.size, seed=9)))
        < 1e-9
    ):
        pytest.skip("the manifold is made of isolated points")

    def cost(x: Tensor) -> Tensor:
        with torch.no_grad():
            problem.leave()
            point.copy_(x)
        return problem.cost().detach()

    def hessian(x: Tensor, u: Tensor) -> Tensor:
        return evaluation.hessian(u.reshape(-1)).reshape(u.shape)

    def gradient(x: Tensor) -> Tensor:
        return evaluation.gradient.reshape(x.shape)

    start = point.detach().as_subclass(Tensor).clone()
    result = checks.check_hessian(manifold, cost, point=start, gradient=gradient, hessian=hessian)
    assert result.passed, result


@pytest.mark.parametrize("name", OTHERS)
def test_hessian_is_the_second_derivative_of_the_model(name: str) -> None:
    problem = make_problem(OTHERS[name]())
    space = problem.space
    start = problem.evaluate(space.read())
    u, v = tangent(start, 1), tangent(start, 2)
    products = [float(space.inner(start.point, start.hessian(a), b)) for a, b in ((u, v), (v, u), (u, u))]
    assert products[0] == pytest.approx(products[1], rel=1e-9, abs=1e-9)
    if name in ("product", "geoopt-stiefel"):  # they have the Hessian of geodesics, which QR does not follow
        return
    h = 1e-4
    ahead, behind = (problem.evaluate(space.retract(start.point, step * u)).cost for step in (h, -h))
    assert products[2] == pytest.approx((ahead - 2 * start.cost + behind) / h**2, rel=1e-5, abs=1e-5)


def test_a_product_is_made_of_its_factors() -> None:
    """Gradient, inner product and Hessian of separate costs are those of each parameter alone, in every order."""
    parameters = OTHERS["product"]()
    joint = make_problem(parameters)
    space = joint.space
    forms = [draw(*p.shape, seed=5) for p in parameters]

    def terms() -> list[Tensor]:
        return [(form * p).sum().sin() for form, p in zip(forms, parameters, strict=True)]

    whole = Problem(lambda: sum(terms()), space, second_order=True)
    here = whole.evaluate(space.read())
    u, v = tangent(here, 1), tangent(here, 2)
    results = [space.tensors(x) for x in (here.gradient, here.hessian(u))]
    total = 0.0
    for index, single in enumerate(parameters):
        alone = ParameterSpace([single])
        part = Problem(lambda index=index: terms()[index], alone, second_order=True)
        there = part.evaluate(alone.read())
        own_u, own_v = (space.tensors(x)[index].reshape(-1) for x in (u, v))
        torch.testing.assert_close(there.gradient, results[0][index].reshape(-1))
        torch.testing.assert_close(there.hessian(own_u), results[1][index].reshape(-1))
        total += float(alone.inner(there.point, own_u, own_v))
    assert float(space.inner(here.point, u, v)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_vectors_and_tensors_are_one_another(name: str) -> None:
    parameters = OTHERS[name]()
    space = ParameterSpace(parameters)
    for tensor, single in zip(space.tensors(space.read()), parameters, strict=True):
        assert torch.equal(tensor, single.detach().as_subclass(Tensor))
    point = space.read()
    moved = space.retract(point, space.project(point, draw(space.size, seed=1)) / 10)
    space.write(moved)
    assert torch.equal(space.read(), moved)
    stacked = torch.stack((point, moved))
    assert all(torch.equal(t[1], p) for t, p in zip(space.tensors(stacked), space.tensors(moved), strict=True))


@pytest.mark.parametrize("name", OTHERS)
def test_transport_takes_batches_and_ends_in_the_tangent_space(name: str) -> None:
    problem = make_problem(OTHERS[name]())
    space = problem.space
    start = problem.evaluate(space.read())
    step = tangent(start, 1) / 3
    end = space.retract(start.point, step)
    vectors = torch.stack([tangent(start, seed) for seed in range(2, 8)]).unflatten(0, (2, 3))
    moved = space.transport(start.point, step, end, vectors)
    assert moved.shape == vectors.shape
    torch.testing.assert_close(moved[1, 2], space.transport(start.point, step, end, vectors[1, 2]))
    torch.testing.assert_close(space.project(end, moved[0, 1]), moved[0, 1])
    products = space.inner(end, moved, moved)
    assert products.shape == (2, 3)
    assert float(products[1, 0]) == pytest.approx(space.norm(end, moved[1, 0]) ** 2, rel=1e-12)


def test_a_quotient_and_a_retraction_keep_frames_orthonormal() -> None:
    point = frame(Stiefel(retraction=QR()), (6, 3))
    space = ParameterSpace([point])
    start = space.read()
    for length in (0.1, 3.0, 30.0):  # short and long steps take different forms
        end = space.retract(start, length * space.project(start, draw(18))).reshape(6, 3)
        assert torch.linalg.matrix_norm(end.mT @ end - torch.eye(3, dtype=torch.float64)) < 1e-13
