"""The checks: what is right passes, every planted mistake is found, and slopes are what they are."""

import json
import math

import geoopt
import numpy as np
import pytest
import torch
from manifold_registry import EUCLIDEAN, GRASSMANN, NAMES, ROWS, Row, draw_point

from sttp.manifolds import (
    QR,
    Cayley,
    Free,
    Householder,
    Identity,
    Lipschitz,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainShape,
    checks,
)
from sttp.manifolds.checks._slopes import STEPS

each_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


def failed(result: checks.CheckResult) -> set[str]:
    return {finding.name for finding in result.failures}


# --- what is right passes ---


@each_dtype
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_every_manifold_of_this_package_passes(row: Row, dtype: torch.dtype) -> None:
    for shape in ((7, 3), (3, 3)):
        axioms = checks.check_manifold(
            row.manifold, shape, dimension=row.dimension(*shape), isometric=row.is_isometric, dtype=dtype
        )
        assert axioms.passed, str(axioms)
        retraction = checks.check_retraction(row.manifold, shape, second_order=row.second_order or None, dtype=dtype)
        assert retraction.passed, str(retraction)
        assert axioms["projection linear"].verdict is checks.Verdict.PASSED
        assert axioms["transport isometric"].verdict != checks.Verdict.FAILED


@each_dtype
def test_random_points_pass_where_they_claim_to_be_uniform(dtype: torch.dtype) -> None:
    for row in (EUCLIDEAN, GRASSMANN):
        result = checks.check_manifold(row.manifold, (5, 3), uniform=True, dtype=dtype)
        assert result["random points without direction"].verdict is checks.Verdict.PASSED, str(result)
    # geoopt's frames come from a QR decomposition with LAPACK's signs, which prefers a direction.
    theirs = checks.check_manifold(geoopt.EuclideanStiefel(), (5, 3), uniform=True, dtype=dtype)
    assert failed(theirs) == {"random points without direction"}


@each_dtype
@pytest.mark.parametrize("geometry", [Riemannian(), Riemannian(redundant=False), Householder()], ids=lambda g: g.name)
@pytest.mark.parametrize("spectrum", [Free(), Lipschitz(), Identity()], ids=lambda s: type(s).__name__)
def test_trains_pass(geometry, spectrum, dtype: torch.dtype) -> None:
    train = SpectralTensorTrain(TrainShape((2, 2), (3,), 2), geometry, spectrum)
    for result in (checks.check_manifold(train, dtype=dtype), checks.check_retraction(train, dtype=dtype)):
        assert result.passed, str(result)
        # Seven findings at the least say something: nothing passes by being left out.
        assert sum(finding.verdict is checks.Verdict.PASSED for finding in result.findings) >= 4


@each_dtype
@pytest.mark.parametrize(
    "manifold",
    [geoopt.EuclideanStiefel(), geoopt.EuclideanStiefelExact(), geoopt.Sphere(), geoopt.Euclidean(ndim=1)],
    ids=lambda manifold: str(manifold),
)
def test_sound_manifolds_of_geoopt_pass(manifold: geoopt.Manifold, dtype: torch.dtype) -> None:
    axioms, retraction = checks.check_manifold(manifold, dtype=dtype), checks.check_retraction(manifold, dtype=dtype)
    assert axioms.passed, str(axioms)
    assert retraction.passed, str(retraction)


@each_dtype
def test_default_stiefel_of_geoopt_fails_where_it_is_wrong(dtype: torch.dtype) -> None:
    axioms = checks.check_manifold(geoopt.Stiefel(), dtype=dtype)
    retraction = checks.check_retraction(geoopt.Stiefel(), dtype=dtype)
    assert {
        "projection idempotent",
        "projection keeps velocities",
        "exponential velocity",
        "exponential geodesic",
    } <= failed(axioms)
    assert {"velocity", "first order"} <= failed(retraction)
    slope = retraction["first order"].slope
    assert slope is not None
    assert slope.measured == pytest.approx(1, abs=0.15)
    assert axioms["transport linear"].verdict is checks.Verdict.ABSENT


# --- planted mistakes ---


def mutant(**methods) -> geoopt.Manifold:
    """Return a Stiefel manifold with some of its methods replaced; ``right`` is the manifold that is not."""
    metric = methods.pop("metric", "euclidean")
    right = Stiefel(metric, methods.pop("retraction", QR()))
    manifold = Stiefel(metric, right.retraction)
    for name, method in methods.items():
        object.__setattr__(manifold, name, lambda *arguments, method=method, **options: method(right, *arguments))
    return manifold


def canonical_gradient_as_projection() -> geoopt.Manifold:
    return mutant(proju=lambda right, x, u: u - x @ (u.mT @ x))


def cayley_without_its_projector() -> geoopt.Manifold:
    def retr(right: Stiefel, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        rotation = u @ x.mT - x @ u.mT
        identity = torch.eye(x.shape[-2], dtype=x.dtype)
        return torch.linalg.solve(identity - rotation / 2, (identity + rotation / 2) @ x)

    return mutant(retraction=Cayley(), retr=retr)


def transport_that_is_not_tangent() -> geoopt.Manifold:
    return mutant(transp=lambda right, x, y, v: v)


def euclidean_gradient_in_the_canonical_metric() -> geoopt.Manifold:
    return mutant(metric="canonical", egrad2rgrad=lambda right, x, u: right.proju(x, u))


def scaled_retraction() -> geoopt.Manifold:
    return mutant(retr=lambda right, x, u: 1.01 * right.retr(x, u))


def retraction_of_a_scaled_step() -> geoopt.Manifold:
    return mutant(retr=lambda right, x, u: right.retr(x, 1.01 * u))


def exponential_of_the_other_metric() -> geoopt.Manifold:
    return mutant(expmap=lambda right, x, u: Stiefel("canonical").expmap(x, u))


def inner_product_of_the_other_metric() -> geoopt.Manifold:
    return mutant(inner=lambda right, x, u, v=None: Stiefel("canonical").inner(x, u, v))


def nonlinear_transport() -> geoopt.Manifold:
    return mutant(transp=lambda right, x, y, v: right.proju(y, v) * (1 + v.norm()))


def projection_onto_half_the_tangents() -> geoopt.Manifold:
    return mutant(proju=lambda right, x, u: u - x @ (x.mT @ u))


MUTANTS = {
    canonical_gradient_as_projection: {"projection idempotent", "projection keeps velocities"},
    cayley_without_its_projector: {"velocity", "first order"},
    transport_that_is_not_tangent: {"transport tangent"},
    euclidean_gradient_in_the_canonical_metric: {"gradient represents the differential"},
    scaled_retraction: {"centred", "stays on the manifold", "velocity", "first order"},
    retraction_of_a_scaled_step: {"velocity"},
    exponential_of_the_other_metric: {"exponential geodesic"},
    inner_product_of_the_other_metric: {"gradient represents the differential", "exponential geodesic"},
    nonlinear_transport: {"transport linear", "transport to the same point"},
    projection_onto_half_the_tangents: {"dimension"},
}


@each_dtype
@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.__name__)
def test_planted_mistakes_are_found(plant, dtype: torch.dtype) -> None:
    axioms, retraction = checks.check_manifold(plant(), dtype=dtype), checks.check_retraction(plant(), dtype=dtype)
    assert failed(axioms) | failed(retraction) >= MUTANTS[plant], f"{axioms}\n{retraction}"


@each_dtype
def test_claims_that_do_not_hold_are_found(dtype: torch.dtype) -> None:
    manifold = Stiefel("euclidean", QR())
    assert failed(checks.check_manifold(manifold, dimension=14, isometric=True, dtype=dtype)) == {
        "dimension",
        "transport isometric",
    }
    assert failed(checks.check_retraction(manifold, second_order=True, dtype=dtype)) == {"second order"}
    assert failed(checks.check_retraction(Stiefel("canonical", Cayley()), second_order=False, dtype=dtype)) == {
        "second order"
    }


def test_a_manifold_that_raises_has_failed_and_the_others_are_checked() -> None:
    def broken(right: Stiefel, *_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the matrix is singular\nand more")

    result = checks.check_manifold(mutant(transp=broken))
    assert result["transport linear"].note == "RuntimeError: the matrix is singular"
    assert result["projection linear"].verdict is checks.Verdict.PASSED


# --- cost functions ---


def quadratic(x: torch.Tensor) -> torch.Tensor:
    """Return a cost with a generic gradient and Hessian."""
    generator = torch.Generator().manual_seed(0)
    matrix, target = (torch.randn(7, k, generator=generator, dtype=torch.float64).to(x) for k in (7, 3))
    return (x * ((matrix + matrix.mT) @ x)).sum() / 2 + (x * target).sum()


def subspace_cost(x: torch.Tensor) -> torch.Tensor:
    """Return a cost that depends on the subspace alone."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(7, 7, generator=generator, dtype=torch.float64).to(x)
    return (x * ((matrix + matrix.mT) @ x)).sum() / 2


@each_dtype
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_gradients_of_a_cost_pass(row: Row, dtype: torch.dtype) -> None:
    result = checks.check_gradient(row.manifold, subspace_cost if row.is_quotient else quadratic, (7, 3), dtype=dtype)
    assert result.passed, str(result)
    slope = result["first-order model"].slope
    assert slope is not None
    assert slope.measured == pytest.approx(2, abs=0.15)


@each_dtype
@pytest.mark.parametrize("row", [EUCLIDEAN, GRASSMANN], ids=["stiefel", "grassmann"])
def test_hessians_of_a_cost_pass(row: Row, dtype: torch.dtype) -> None:
    result = checks.check_hessian(row.manifold, subspace_cost if row.is_quotient else quadratic, (7, 3), dtype=dtype)
    assert result.passed, str(result)


@each_dtype
def test_a_given_hessian_is_checked(dtype: torch.dtype) -> None:
    sphere = geoopt.Sphere()
    diagonal = torch.arange(1.0, 8.0, dtype=dtype)

    def hessian(x: torch.Tensor, u: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        return sphere.proju(x, 2 * factor * diagonal * u) - 2 * (x * diagonal * x).sum() * u

    def cost(x: torch.Tensor) -> torch.Tensor:
        return (diagonal * x * x).sum()

    assert checks.check_hessian(sphere, cost, hessian=hessian, dtype=dtype).passed
    wrong = checks.check_hessian(sphere, cost, hessian=lambda x, u: hessian(x, u, 1.1), dtype=dtype)
    assert failed(wrong) == {"second-order model"}
    slope = wrong["second-order model"].slope
    assert slope is not None
    assert slope.measured == pytest.approx(2, abs=0.15)
    crooked = checks.check_hessian(sphere, cost, hessian=lambda x, u: diagonal * u * u, dtype=dtype)
    assert {"tangent", "linear", "symmetric", "second-order model"} <= failed(crooked)


@each_dtype
def test_wrong_gradients_are_found(dtype: torch.dtype) -> None:
    manifold = euclidean_gradient_in_the_canonical_metric()
    assert failed(checks.check_gradient(manifold, quadratic, dtype=dtype)) == {
        "directional derivative",
        "first-order model",
    }
    given = checks.check_gradient(Stiefel(), quadratic, gradient=lambda x: torch.ones_like(x), dtype=dtype)
    assert "tangent" in failed(given)


@each_dtype
def test_gradient_of_a_train(dtype: torch.dtype) -> None:
    target = torch.arange(12.0, dtype=dtype).reshape(4, 3)
    for geometry in (Riemannian(), Riemannian(redundant=False), Householder(), Householder(redundant=True)):
        train = SpectralTensorTrain(TrainShape((2, 2), (3,), 2), geometry, Free())

        def cost(point, train=train) -> torch.Tensor:
            return (train.to_matrix(point) - target).square().sum()

        result = checks.check_gradient(train, cost, dtype=dtype)
        assert result.passed, str(result)


# --- slopes ---


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("epsilon", [2.2e-16, 1.2e-7])
def test_slope_is_found_above_the_noise(order: float, epsilon: float) -> None:
    steps = np.array(STEPS)
    noise = np.random.default_rng(0).normal(size=51) * 3 * epsilon
    errors = np.abs(0.7 * steps**order * (1 + 0.3 * steps) + noise)
    slope = checks.fit_slope(STEPS, tuple(errors), order, 50 * epsilon)
    assert slope.measured == pytest.approx(order, abs=0.15)
    assert slope.passed
    assert not checks.fit_slope(STEPS, tuple(errors), order + 1, 50 * epsilon).passed


def test_an_exact_model_is_recognised_and_a_hopeless_one_is_not() -> None:
    exact = checks.fit_slope(STEPS, (1e-17,) * 51, 2, 1e-14)
    assert exact.is_exact
    assert exact.passed
    assert exact.measured is None
    hopeless = checks.fit_slope(STEPS, (math.nan,) * 51, 2, 1e-14)
    assert not hopeless.passed
    linear = checks.check_gradient(geoopt.Euclidean(ndim=1), lambda x: x.sum() + 3)
    assert linear["first-order model"].slope.is_exact


# --- results ---


def test_a_notebook_shows_findings_with_their_words_as_text() -> None:
    findings = (
        checks.Finding("a < b", checks.Verdict.FAILED, 2.0, 1.0, note="<script>"),
        checks.Finding("c", checks.Verdict.ABSENT),
    )
    html = checks.CheckResult("Mine", "float64", findings)._repr_html_()
    assert html.count("<tr>") == 1 + len(findings)
    assert "a &lt; b" in html
    assert "error 2.0e+00 (allowed 1.0e+00)" in html
    assert "<script" not in html


def test_results_are_plain_and_plotted(tmp_path) -> None:
    for result in (
        checks.check_manifold(geoopt.Stiefel()),
        checks.check_retraction(Stiefel()),
        checks.check_gradient(geoopt.Euclidean(ndim=1), lambda x: x.sum()),
    ):
        assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["passed"] == result.passed
        result.plot().savefig(tmp_path / "plot.png")
        assert str(result).count("\n") == len(result.findings)
        with pytest.raises(KeyError, match="no finding 'nothing'"):
            result["nothing"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: checks.check_manifold("stiefel"),
            TypeError,
            "or a SpectralTensorTrain, got 'stiefel'",
        ),
        (lambda: checks.check_manifold(geoopt.Lorentz()), ValueError, "point must be given: Lorentz"),
        (lambda: checks.check_manifold(geoopt.Scaled(geoopt.Euclidean(ndim=0))), ValueError, "shape must be given"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_given_point_and_device_are_used() -> None:
    point = draw_point(EUCLIDEAN, (6, 2), torch.float32)
    result = checks.check_manifold(Stiefel(), point=point)
    assert result.dtype == "torch.float32"
    assert result["dimension"].note == "rank 9, claimed 9"
