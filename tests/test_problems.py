"""Problems with known answers: that the answers are right, and the same in every geometry."""

import pickle

import geoopt
import numpy as np
import pytest
import torch
from scipy import linalg
from trains import GEOMETRIES

from sttp.manifolds import Riemannian, orthogonality_error
from sttp.optim import LBFGS, minimize
from sttp.study.problems import (
    PROBLEMS,
    Brockett,
    Completion,
    KnownProblem,
    LeadingEigenspace,
    LowRankApproximation,
    Procrustes,
    Recovery,
)

FRAMES = [
    Procrustes(n=9, p=3, condition=7.0),
    Procrustes(n=5, p=5, condition=4.0),
    Procrustes(n=6, p=1, condition=3.0),
    Brockett(n=9, p=3, condition=40.0),
    Brockett(n=4, p=4, condition=20.0),
    Brockett(n=6, p=1, condition=5.0),
    LeadingEigenspace(n=9, p=3, condition=7.0),
    LeadingEigenspace(n=4, p=1, condition=3.0),
]
SMALL = {"row_modes": (2, 4), "column_modes": (4, 2), "rank": 2}
TRAINS = [
    LowRankApproximation(**SMALL),
    LowRankApproximation(row_modes=(6,), column_modes=(5,), rank=2),
    Recovery(**SMALL),
    Recovery(**SMALL, noise=0.05),
    Completion(**SMALL, oversampling=1.8),
    Completion(**SMALL, oversampling=1.8, noise=0.05),
]
EMBEDDED = Riemannian(redundant=False, metric="embedded")


def names(problems):
    return [problem.name for problem in problems]


def test_the_rows_cover_every_problem():
    known = {entry.thing for entry in PROBLEMS.entries().values() if entry.is_ours}
    assert {type(problem) for problem in FRAMES + TRAINS} == {kind for kind in known if issubclass(kind, KnownProblem)}


# --- the answers ---


@pytest.mark.parametrize("problem", FRAMES, ids=names(FRAMES))
def test_no_frame_costs_less_than_the_solution(problem):
    solution = problem.solution
    assert float(orthogonality_error(solution)) < 1e-13
    assert float(problem.cost_of(solution)) == pytest.approx(problem.optimum, abs=1e-13)
    # Frames far away, and ever closer ones: a cost below the optimum would show near it.
    rng = np.random.default_rng(0)
    for distance in (np.inf, 1.0, 0.1, 1e-3):
        noise = rng.standard_normal((200, problem.n, problem.p))
        near = noise if distance == np.inf else solution.numpy() + distance * noise
        others = torch.from_numpy(np.linalg.qr(near)[0])
        assert float(problem.cost_of(others).min()) >= problem.optimum - 1e-13
    assert problem.scale > 0


# For a single column or a square matrix Procrustes and the eigenspace have another one, as their docstrings say.
CONDITIONED = [p for p in FRAMES if isinstance(p, Brockett) or 1 < p.p < p.n]


@pytest.mark.parametrize("problem", CONDITIONED, ids=names(CONDITIONED))
def test_the_condition_number_is_that_of_the_hessian(problem):
    point = problem.solution.numpy()
    n, p = point.shape
    # Tangent vectors, horizontal ones where only the span counts: the null space of the constraint, by scipy.
    basis = np.eye(n * p).reshape(n * p, n, p)
    constraint = point.T @ basis
    if not problem.only_span:
        constraint = constraint + constraint.transpose(0, 2, 1)
    tangents = torch.from_numpy(linalg.null_space(constraint.reshape(n * p, -1).T).T.reshape(-1, n, p))

    def along(coefficients):
        step = torch.einsum("k,kij->ij", coefficients, tangents)
        # The polar retraction to second order, which is all that a Hessian sees.
        moved = (problem.solution + step) @ (torch.eye(p).double() - step.mT @ step / 2)
        return problem.cost_of(moved)

    hessian = torch.func.hessian(along)(torch.zeros(len(tangents)).double())
    eigenvalues = linalg.eigvalsh(hessian.numpy())
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(problem.condition, rel=1e-8)


@pytest.mark.parametrize("problem", FRAMES + TRAINS, ids=names(FRAMES + TRAINS))
def test_a_minimizer_that_knows_no_answer_finds_it(problem):
    # A start drawn from the numbers that made the data would lie in a special position: on the way to a saddle.
    variable = problem.start(Riemannian(redundant=False), seed=problem.seed)
    assert problem.gap(variable) > 0.1
    minimize(lambda: problem.cost(variable), variable.parameters, LBFGS(), gradient_tolerance=1e-8)
    assert abs(problem.gap(variable)) < 1e-11


def test_the_matrix_to_approximate_has_the_singular_values_that_were_asked_for():
    problem = TRAINS[0]
    values = np.linalg.svd(problem._target.numpy())[1]
    assert values[0] / values[1] == pytest.approx(problem.condition)
    assert values[2] / values[1] == pytest.approx(problem.noise)
    assert float(problem.cost_of(problem.solution)) == pytest.approx(problem.optimum, rel=1e-12)


@pytest.mark.parametrize("kind", [Recovery, Completion])
def test_the_planted_train_is_the_answer_but_for_the_noise(kind):
    clean, noisy = kind(**SMALL, oversampling=1.8), kind(**SMALL, oversampling=1.8, noise=0.05)
    assert clean.optimum == 0
    assert float(clean.cost_of(clean.planted)) < 1e-28
    # The best fit is closer than the planted train, whose residual is the noise itself.
    residual = float(noisy.cost_of(noisy.planted))
    assert 0 < noisy.optimum < residual
    assert np.sqrt(residual / noisy.scale) == pytest.approx(0.05, rel=0.1)
    singular = np.linalg.svd(clean.planted.numpy())[1]
    assert singular[:3] == pytest.approx([1, 1 / clean.condition, 0], abs=1e-12)


@pytest.mark.parametrize("kind", [Recovery, Completion])
def test_the_adjoint_is_the_adjoint(kind):
    problem = kind(**SMALL, oversampling=1.8)
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(4, 8, 8, dtype=torch.float64, generator=generator)
    numbers = torch.randn(problem.measurements, dtype=torch.float64, generator=generator)
    assert problem.measure(weights).shape == (4, problem.measurements)
    left, right = problem.measure(weights) @ numbers, (weights * problem.adjoint(numbers)).sum(dim=(-2, -1))
    scale = 64 / problem.measurements if kind is Completion else 1.0
    assert torch.allclose(scale * left, right, atol=1e-12)


def test_completion_asks_for_no_entry_twice():
    problem = Completion(**SMALL, oversampling=1.8)
    asked = problem.measure(torch.arange(64).double().reshape(8, 8))
    assert len(asked.unique()) == len(asked) == round(1.8 * problem.shape.degrees_of_freedom())


# --- starts ---


@pytest.mark.parametrize("problem", FRAMES + TRAINS, ids=names(FRAMES + TRAINS))
def test_a_start_is_one_point_in_every_geometry(problem):
    geometries = list(GEOMETRIES.values()) + [EMBEDDED] * (problem in TRAINS)
    costs = {}
    for geometry in geometries:
        variable = problem.start(geometry, seed=5)
        assert variable.orthogonality_error() < 1e-13
        costs[geometry] = float(problem.cost(variable).detach())
        value = variable.value()
        if not getattr(problem, "only_span", False):
            assert torch.allclose(value, problem.start(GEOMETRIES["stiefel"], seed=5).value(), atol=1e-12)
        on_manifolds = [isinstance(parameter, geoopt.ManifoldParameter) for parameter in variable.parameters]
        assert any(on_manifolds) == isinstance(geometry, Riemannian)
        gradients = torch.autograd.grad(problem.cost(variable), variable.parameters)
        assert sum(float(gradient.norm()) for gradient in gradients) > 0
    assert max(costs.values()) - min(costs.values()) < 1e-12
    other = problem.start(geometries[0], seed=6)
    assert problem.gap(other) != pytest.approx(problem.gap(variable))
    batched = problem.cost_of(torch.stack([value.detach(), other.value().detach()])[:, None])
    assert batched.flatten().tolist() == pytest.approx([costs[geometry], float(problem.cost(other).detach())])
    single = problem.start(geometries[0], seed=5, dtype=torch.float32)
    assert {parameter.dtype for parameter in single.parameters} == {torch.float32}
    assert problem.gap(single) == pytest.approx(problem.gap(problem.start(geometries[0], seed=5)), abs=1e-5)


def test_square_starts_lie_in_the_component_of_the_optimum():
    for seed in range(8):
        problem = Procrustes(n=4, p=4, seed=seed)
        signs = {np.sign(np.linalg.det(problem.start(g, 9).value().detach())) for g in GEOMETRIES.values()}
        assert signs == {np.sign(np.linalg.det(problem.solution))}


def test_problems_are_their_values():
    for problem in FRAMES + TRAINS:
        values = problem.to_dict()
        copy = PROBLEMS[values.pop("kind")](**values)
        assert copy == problem
        assert hash(copy) == hash(problem)
        assert copy.optimum == problem.optimum
        assert pickle.loads(pickle.dumps(problem)) == problem
    assert len(set(names(FRAMES + TRAINS))) == len(FRAMES + TRAINS)
    assert Procrustes(seed=1).optimum == pytest.approx(Procrustes(seed=2).optimum)
    assert not torch.allclose(Procrustes(seed=1).solution, Procrustes(seed=2).solution)


def test_problems_know_which_geometries_are_others_in_disguise():
    stiefel, grassmann, full, reduced = GEOMETRIES.values()
    open_to = {
        Procrustes(): [stiefel, full],
        LeadingEigenspace(): [stiefel, grassmann, full, reduced],
        TRAINS[0]: [stiefel, grassmann, full, reduced, EMBEDDED],
        TRAINS[1]: [stiefel, full, EMBEDDED],
    }
    for problem, geometries in open_to.items():
        assert [g for g in (*GEOMETRIES.values(), EMBEDDED) if problem.distinguishes(g)] == geometries


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Procrustes(n=3, p=4), "n must be at least p, got n = 3 and p = 4"),
        (lambda: Procrustes(seed=-1), "seed must be at least 0"),
        (lambda: Procrustes(condition=0.5), "condition must be finite and at least 1, got 0.5"),
        (lambda: Brockett(n=9, p=3, condition=17.0), "condition must be finite and at least 18"),
        (lambda: LeadingEigenspace(n=3, p=3), "n must be larger than p"),
        (lambda: LowRankApproximation(row_modes=(6, 4), rank=4), r"row_modes must leave all matrices of rank 4.*to 6"),
        (lambda: LowRankApproximation(column_modes=(4, 6), rank=4), r"column_modes must leave .*to 6"),
        (lambda: Recovery(noise=1.0), "noise must be .*at least 0 and below 1"),
        (lambda: Recovery(oversampling=0.5), "oversampling must be .*at least 1"),
        (lambda: Completion(oversampling=9.0), "asks for 1269; give less, or a larger matrix"),
        (lambda: Procrustes().start(EMBEDDED, 0), "metric='embedded' is one of weights.*give metric='euclidean'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()
