"""Full-batch minimization: problems whose answer scipy and numpy know, and how the methods come to it."""

import math

import geoopt
import numpy as np
import pytest
import scipy.optimize
import torch
from minimize_problems import FAST, METHODS, PROBLEMS, brockett, draw, every_method, frame, procrustes, rosenbrock
from torch import Tensor, nn

from sttp.manifolds import (
    Cayley,
    Exponential,
    Grassmann,
    Polar,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainPoint,
    TrainShape,
    Transport,
    parameter_manifolds,
)
from sttp.optim.deterministic import (
    LBFGS,
    Method,
    Reason,
    SteepestDescent,
    TrustRegions,
    WolfeSearch,
    minimize,
)
from sttp.optim.deterministic import _lbfgs as lbfgs


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_twelve_digits_from_eight_starts(problem, name: str) -> None:
    for seed in range(8):
        x, cost, best = problem(12, 3, seed)
        result = minimize(cost, [x], METHODS[name], gradient_tolerance=1e-12)
        assert result.reason is Reason.GRADIENT, (seed, result)
        assert result.gradient_norm <= 1e-12
        assert abs(result.cost - best) <= 1e-12 * abs(best), seed
        assert torch.linalg.matrix_norm(x.mT @ x - torch.eye(3, dtype=torch.float64)) < 1e-13


@every_method
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_method_comes_to_the_optimum(problem, method: Method) -> None:
    x, cost, best = problem(12, 3, 0)
    result = minimize(cost, [x], method, gradient_tolerance=1e-6)
    assert result.converged
    assert result.cost - best < 1e-10
    # each point of the way is below the last, but for rounding
    assert (np.diff(result.history.cost) < 1e-14).all()


@every_method
def test_twelve_digits_with_every_method(method: Method) -> None:
    x, cost, best = procrustes(12, 3, 0)
    result = minimize(cost, [x], method, gradient_tolerance=1e-12)
    assert result.converged
    assert abs(result.cost - best) < 1e-12


RETRACTIONS = (Polar(), Cayley(), Exponential(transport=Transport.ISOMETRIC), Cayley(transport=Transport.DIFFERENTIAL))


@pytest.mark.parametrize("retraction", RETRACTIONS, ids=repr)
@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
@pytest.mark.parametrize("name", [*FAST, "hestenes-stiefel"])
def test_every_metric_retraction_and_transport(name: str, metric, retraction) -> None:
    x, cost, best = brockett(10, 2, 0, Stiefel(metric, retraction))
    result = minimize(cost, [x], METHODS[name], gradient_tolerance=1e-9)
    assert result.converged
    assert abs(result.cost - best) < 1e-12


@pytest.mark.parametrize("name", FAST)
def test_leading_eigenspace_on_grassmann(name: str) -> None:
    """A cost that does not change under X → XQ has no minimum but this one."""
    matrix = draw(10, 10)
    matrix = matrix + matrix.mT
    x = frame(Grassmann(), 10, 3)
    result = minimize(lambda: -((matrix @ x) * x).sum(), [x], METHODS[name], gradient_tolerance=1e-10)
    values, vectors = np.linalg.eigh(matrix.numpy())
    assert result.converged
    assert result.cost == pytest.approx(-values[-3:].sum(), rel=1e-13)
    projector = (x @ x.mT).detach().numpy()
    np.testing.assert_allclose(projector, vectors[:, -3:] @ vectors[:, -3:].T, atol=1e-10)


@pytest.mark.parametrize("name", FAST)
def test_frames_and_plain_parameters_together(name: str) -> None:
    """The best approximation of rank 2 is the truncated SVD (Eckart, Young 1936)."""
    matrix = draw(7, 5)
    left, right, values = frame(Stiefel(), 7, 2), frame(Stiefel(), 5, 2, seed=1), nn.Parameter(torch.ones(2).double())
    result = minimize(
        lambda: ((left * values) @ right.mT - matrix).square().sum(),
        [left, values, right],
        METHODS[name],
        gradient_tolerance=1e-11,
    )
    singular = np.linalg.svd(matrix.numpy(), compute_uv=False)
    assert result.converged
    assert result.cost == pytest.approx((singular[2:] ** 2).sum(), rel=1e-12)
    np.testing.assert_allclose(np.sort(values.detach().abs().numpy())[::-1], singular[:2], rtol=1e-10)


@every_method
def test_plain_parameters_as_scipy_does(method: Method) -> None:
    """A convex logistic regression, whose one minimum scipy finds too."""
    inputs, labels = draw(40, 3), (draw(40, seed=1) > 0).double() * 2 - 1

    def loss(weights):
        return np.logaddexp(0, -labels.numpy() * (inputs.numpy() @ weights)).sum() + 0.05 * weights @ weights

    theirs = scipy.optimize.minimize(loss, np.zeros(3), options={"gtol": 1e-9}, method="BFGS")
    weights = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    zero = torch.zeros((), dtype=torch.float64)
    result = minimize(
        lambda: torch.logaddexp(zero, -labels * (inputs @ weights)).sum() + 0.05 * weights @ weights,
        [weights],
        method,
        gradient_tolerance=1e-9,
    )
    assert result.converged
    np.testing.assert_allclose(weights.detach(), theirs.x, atol=1e-7)


def test_a_batch_of_frames_is_one_problem_of_independent_ones() -> None:
    targets = draw(4, 6, 2)
    frames = frame(Stiefel(), 4, 6, 2)
    result = minimize(lambda: -(targets * frames).sum(), [frames], gradient_tolerance=1e-10)
    assert result.cost == pytest.approx(-np.linalg.svd(targets.numpy(), compute_uv=False).sum(), rel=1e-13)


def test_square_frames_stay_in_their_component() -> None:
    target = draw(4, 4)
    x = frame(Stiefel(), 4, 4)
    sign = float(torch.linalg.det(x.detach()))
    minimize(lambda: -(target * x).sum(), [x], gradient_tolerance=1e-10)
    assert float(torch.linalg.det(x.detach())) == pytest.approx(sign, abs=1e-12)
    u, s, v = np.linalg.svd(target.numpy())
    if np.linalg.det(u @ v) * sign < 0:
        s[-1] = -s[-1]  # the optimum of the other component (Umeyama 1991)
    assert float((target * x).sum().detach()) == pytest.approx(s.sum(), rel=1e-12)


@pytest.mark.parametrize("name", FAST)
def test_points_of_geoopt(name: str) -> None:
    """The mean of points on a sphere is along their sum; XB⁻¹X = A has the geometric mean A(A⁻¹B)^½ as solution."""
    first, second = (draw(3, 5, seed=seed) for seed in (0, 1))
    a, b = first @ first.mT, second @ second.mT
    manifold = geoopt.SymmetricPositiveDefinite()
    x = geoopt.ManifoldParameter(torch.eye(3, dtype=torch.float64), manifold=manifold)

    def cost() -> Tensor:
        return torch.linalg.solve(x, a).trace() + torch.linalg.solve(b, x).trace()

    assert minimize(cost, [x], METHODS[name], gradient_tolerance=1e-9, max_iterations=100).converged
    expected = a.numpy() @ scipy.linalg.sqrtm(np.linalg.solve(a.numpy(), b.numpy()))
    np.testing.assert_allclose(x.detach().numpy(), expected, atol=1e-8)

    points = draw(5, 3)
    y = geoopt.ManifoldParameter(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), manifold=geoopt.Sphere())
    result = minimize(lambda: (y - points).square().sum(), [y], METHODS[name], gradient_tolerance=1e-10)
    assert result.converged
    np.testing.assert_allclose(y.detach(), points.sum(dim=0) / points.sum(dim=0).norm(), atol=1e-10)


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_trust_regions_end_superlinearly(problem) -> None:
    for seed in range(5):
        x, cost, _ = problem(12, 3, seed)
        norms = minimize(cost, [x], gradient_tolerance=1e-12).history.gradient_norm
        norms = norms[norms > 1e-14]  # what is below is rounding
        ratios = norms[1:] / norms[:-1]
        assert ratios[-1] < 1e-2
        assert ratios[-1] < ratios[-2] < ratios[-3]
        # an order of convergence near 2 makes log(ratio) double
        assert math.log(ratios[-1]) / math.log(ratios[-2]) > 1.5


def test_refused_steps_leave_the_parameters_where_they_were() -> None:
    x, cost = rosenbrock()

    def watch(iterate) -> None:
        assert float(cost().detach()) == iterate.evaluation.cost

    result = minimize(cost, [x], TrustRegions(initial_radius=1.0), gradient_tolerance=1e-10, callback=watch)
    assert result.converged
    np.testing.assert_allclose(x.detach(), 1.0, atol=1e-10)
    refused = result.history.step[1:] == 0
    assert refused.sum() >= 2
    assert (np.diff(result.history.cost)[refused] == 0).all()
    assert (np.diff(result.history.cost)[~refused] < 0).all()


@pytest.mark.parametrize("memory", [1, 3, 10])
def test_lbfgs_is_the_dense_update_of_its_pairs(memory: int, monkeypatch) -> None:
    """In Euclidean space: H ← (I − ρsyᵀ)H(I − ρysᵀ) + ρssᵀ from γI, formed as a matrix."""
    x, cost = rosenbrock()
    seen = []
    apply = lbfgs._Pairs.inverse_hessian

    def watch(pairs, space, at):
        seen.append((pairs.vectors.numpy(), at.gradient.numpy(), apply(pairs, space, at).numpy()))
        return apply(pairs, space, at)

    monkeypatch.setattr(lbfgs._Pairs, "inverse_hessian", watch)
    assert minimize(cost, [x], LBFGS(memory=memory), gradient_tolerance=1e-8).converged
    assert len(seen) > 10
    for (steps, changes), gradient, product in seen:
        assert len(steps) <= memory
        dense = np.eye(2) * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
        for s, y in zip(steps, changes, strict=True):
            turn = np.eye(2) - np.outer(s, y) / (s @ y)
            dense = turn @ dense @ turn.T + np.outer(s, s) / (s @ y)
        np.testing.assert_allclose(product, dense @ gradient, rtol=1e-6, atol=1e-12)


def test_lbfgs_carries_its_pairs_to_each_point(monkeypatch) -> None:
    """All pairs are tangent where they are used, and the last one is a step and a gradient's change carried there."""
    x, cost, _ = brockett(12, 3, 0, Stiefel(retraction=Cayley(transport=Transport.ISOMETRIC)))
    apply, sizes = lbfgs._Pairs.inverse_hessian, []

    def watch(pairs, space, at):
        torch.testing.assert_close(space.project(at.point, pairs.vectors), pairs.vectors, rtol=0, atol=1e-12)
        sizes.append(pairs.vectors.shape[1])
        return apply(pairs, space, at)

    monkeypatch.setattr(lbfgs._Pairs, "inverse_hessian", watch)
    minimize(cost, [x], LBFGS(memory=5), max_iterations=20)
    assert max(sizes) == 5


def test_a_preconditioner_spares_products() -> None:
    scales = torch.logspace(0, 4, 30, dtype=torch.float64)
    counts = []
    for preconditioner in (None, lambda tangents: [tangents[0] / scales]):
        x = nn.Parameter(torch.ones(30, dtype=torch.float64))
        method = TrustRegions(preconditioner=preconditioner, largest_radius=1e4)
        result = minimize(lambda x=x: (scales * x.square()).sum() / 2, [x], method, gradient_tolerance=1e-10)
        assert result.converged
        counts.append(result.evaluations.hessian_products)
    assert counts[1] * 3 < counts[0]


@every_method
def test_single_precision(method: Method) -> None:
    y = frame(Stiefel(), 12, 3, seed=100, dtype=torch.float32)
    target = draw(12, 3).float()
    result = minimize(lambda: -(target * y).sum(), [y], method, gradient_tolerance=2e-5)
    best = -np.linalg.svd(target.double().numpy(), compute_uv=False).sum()
    assert result.converged
    assert abs(result.cost - best) < 1e-5
    assert y.dtype == torch.float32


@every_method
def test_a_cost_without_a_value_everywhere(method: Method) -> None:
    """Steps into the region where the logarithm is no number are refused: the minimum of x − log x is at 1."""
    x = nn.Parameter(torch.full((2,), 1e-3, dtype=torch.float64))
    result = minimize(lambda: (x - x.log()).sum(), [x], method, gradient_tolerance=1e-8)
    assert result.converged
    np.testing.assert_allclose(x.detach(), 1.0, atol=1e-8)


# --- the line search ---


@pytest.mark.parametrize("curvature", [0.05, 0.5, 0.9])
def test_steps_satisfy_the_strong_wolfe_conditions(curvature: float) -> None:
    """Seen from outside: the cost and its slope along the curve, at the start and at the end of every step."""
    x, cost, _ = brockett(8, 2, 3)
    search = WolfeSearch(sufficient_decrease=1e-3, curvature=curvature)
    points, costs = [x.detach().clone()], [float(cost().detach())]

    def watch(iterate) -> None:
        points.append(x.detach().clone())
        costs.append(iterate.evaluation.cost)

    result = minimize(cost, [x], SteepestDescent(search), max_iterations=15, gradient_tolerance=0.0, callback=watch)
    manifold = Stiefel()

    def value(start, tangent, length) -> float:
        with torch.no_grad():
            x.copy_(manifold.retr(start, length * tangent))
        return float(cost().detach())

    for before, step, start_cost, end_cost in zip(points, result.history.step[1:], costs, costs[1:], strict=False):
        with torch.no_grad():
            x.copy_(before)
        (gradient,) = torch.autograd.grad(cost(), x)
        tangent = -manifold.egrad2rgrad(before, gradient).as_subclass(Tensor)
        slope = -float(tangent.square().sum())
        length = step / (-slope) ** 0.5
        assert end_cost <= start_cost + 1e-3 * length * slope
        end_slope = (value(before, tangent, length + 1e-6) - value(before, tangent, length - 1e-6)) / 2e-6
        assert abs(end_slope) <= curvature * abs(slope) + 1e-7
    assert len(points) == 16


@pytest.mark.parametrize("name", FAST)
def test_weights_under_the_embedded_metric(name: str) -> None:
    """A matrix of these TT ranks is found again, from a point beside it, to the rounding of the cost."""
    train = SpectralTensorTrain(TrainShape((2, 3), (3, 2), 2), Riemannian(redundant=False, metric="embedded"))
    target = train.to_matrix(train.random(dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    point = train.from_matrix(target + 0.05 * draw(6, 6)).point
    tensors = [*point.coordinates, point.spectrum]
    manifolds = parameter_manifolds(train)
    weights = [geoopt.ManifoldParameter(x.clone(), manifold=m) for m, x in zip(manifolds, tensors, strict=True)]

    def cost() -> Tensor:
        return (train.to_matrix(TrainPoint(tuple(weights[:-1]), weights[-1], point.signs)) - target).square().sum()

    result = minimize(cost, weights, METHODS[name], gradient_tolerance=1e-10)
    assert result.converged
    assert result.history.cost[0] > 1e-3
    assert result.cost < 1e-18
    with pytest.raises(ValueError, match=r"takes the \d parameters of a weight together"):
        minimize(cost, weights[1:], METHODS[name])
