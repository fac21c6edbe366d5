"""When full-batch minimization stops, what it leaves behind, and what it refuses."""

import itertools
import math

import geoopt
import numpy as np
import pytest
import torch
from minimize_problems import brockett, every_method, procrustes
from torch import Tensor, nn

from sttp.optim.deterministic import (
    LBFGS,
    ConjugateGradient,
    HagerZhang,
    HestenesStiefel,
    Method,
    Reason,
    SteepestDescent,
    TrustRegions,
    WolfeSearch,
    minimize,
)


def test_reasons() -> None:
    def run(**settings):
        x, cost, _ = brockett(12, 3, 0)
        return minimize(cost, [x], LBFGS(), **{"gradient_tolerance": 1e-12, **settings})

    assert run().reason is Reason.GRADIENT
    assert run(gradient_tolerance=0.0).reason is Reason.STALLED
    assert run(max_iterations=4).iterations == 4
    assert run(max_iterations=4).reason is Reason.ITERATIONS
    assert run(max_iterations=0).iterations == 0
    assert run(max_seconds=0.0).reason is Reason.TIME
    stopped = run(step_tolerance=1e-3)
    assert stopped.reason is Reason.STEP
    assert stopped.history.step[-1] < 1e-3 <= stopped.history.step[1:-1].min()
    assert run(callback=lambda iterate: iterate.evaluation.gradient_norm < 1e-2).reason is Reason.CALLBACK
    assert run(gradient_tolerance=math.inf).iterations == 0


@every_method
def test_rounding_ends_a_run_that_has_no_tolerance(method: Method) -> None:
    x, cost, best = procrustes(12, 3, 0)
    result = minimize(cost, [x], method, gradient_tolerance=0.0, max_iterations=500)
    assert result.reason in (Reason.STALLED, Reason.GRADIENT)
    assert result.gradient_norm < 1e-12
    assert abs(result.cost - best) < 1e-13


@every_method
def test_history_and_counts(method: Method) -> None:
    x, cost, _ = brockett(12, 3, 0)
    calls, seen = itertools.count(), []

    def counted() -> Tensor:
        next(calls)
        return cost()

    def watch(iterate) -> None:
        seen.append(iterate.evaluation.cost)
        assert float(cost().detach()) == iterate.evaluation.cost  # the parameters are there

    result = minimize(counted, [x], method, callback=watch, gradient_tolerance=1e-6)
    history = result.history
    for column in (history.cost, history.gradient_norm, history.step, history.seconds, history.costs):
        assert column.shape == (result.iterations + 1,)
    assert list(history.cost[1:]) == seen + [result.cost] * (len(history.cost) - 1 - len(seen))
    assert (history.cost[-1], history.gradient_norm[-1]) == (result.cost, result.gradient_norm)
    assert result.evaluations.costs == next(calls) == history.costs[-1]
    assert result.evaluations.gradients == history.gradients[-1] <= result.evaluations.costs
    assert (result.evaluations.hessian_products > 0) == isinstance(method, TrustRegions)
    assert (np.diff(history.seconds) >= 0).all()
    assert history.seconds[-1] <= result.seconds


@every_method
def test_what_is_left_behind(method: Method) -> None:
    x, cost, _ = brockett(12, 3, 0)
    x.grad = torch.ones_like(x)
    other = nn.Parameter(torch.ones(2, dtype=torch.float64))  # which the cost does not use
    result = minimize(cost, [x, other], method, max_iterations=6)
    assert float(cost().detach()) == result.cost
    assert torch.equal(x.grad, torch.ones_like(x))
    assert other.grad is None
    assert torch.equal(other.detach(), torch.ones(2, dtype=torch.float64))
    assert isinstance(x, geoopt.ManifoldParameter)
    assert x.is_leaf


@every_method
def test_equal_calls_give_equal_results(method: Method) -> None:
    ends = []
    for _ in range(2):
        x, cost, _ = brockett(12, 3, 0)
        minimize(cost, [x], method, max_iterations=20)
        ends.append(x.detach().clone())
    assert torch.equal(*ends)


@every_method
def test_an_interruption_leaves_the_last_point(method: Method) -> None:
    x, cost, _ = brockett(12, 3, 0)
    calls, points = itertools.count(), [x.detach().clone()]

    def interrupted() -> Tensor:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return cost()

    def watch(_) -> None:
        points.append(x.detach().clone())

    with pytest.raises(KeyboardInterrupt):
        minimize(interrupted, [x], method, callback=watch)
    assert torch.equal(x.detach(), points[-1])
    assert len(points) > 2


def test_works_where_gradients_are_off() -> None:
    x, cost, best = procrustes(12, 3, 0)
    with torch.no_grad():
        result = minimize(cost, [x])
    assert result.cost == pytest.approx(best, rel=1e-12)


def test_progress_goes_to_the_standard_error(capsys) -> None:
    x, cost, _ = brockett(12, 3, 0)
    result = minimize(cost, [x], LBFGS(), progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0].startswith("iteration 0: cost ")
    assert result.iterations > 20
    assert any(line.startswith("iteration 20:") for line in lines)
    assert len(lines) < 30


# --- what is refused ---


def test_wrong_arguments_are_named() -> None:
    x, cost, _ = procrustes(5, 2, 0)
    with pytest.raises(TypeError, match=r"method must be an object such as LBFGS\(\).*'lbfgs'"):
        minimize(cost, [x], "lbfgs")
    with pytest.raises(ValueError, match="gradient_tolerance must be finite and at least 0, got -1"):
        minimize(cost, [x], gradient_tolerance=-1)
    with pytest.raises(ValueError, match="parameters must be at least one tensor"):
        minimize(cost, [])
    with pytest.raises(ValueError, match="one of them twice"):
        minimize(cost, [x, x])
    with pytest.raises(ValueError, match="one precision and one device, got"):
        minimize(cost, [x, nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="require a gradient"):
        minimize(cost, [x, torch.ones(2, dtype=torch.float64)])
    with pytest.raises(TypeError, match="bfloat16"):
        minimize(cost, [nn.Parameter(torch.ones(2, dtype=torch.bfloat16))])
    with pytest.raises(TypeError, match=r"real scalar tensor, got shape \(5, 2\)"):
        minimize(lambda: 2 * x, [x])
    with pytest.raises(TypeError, match="real scalar tensor, got float"):
        minimize(lambda: 1.0, [x])
    with pytest.raises(ValueError, match="cost must depend on parameters"):
        minimize(lambda: x.detach().sum(), [x])
    with pytest.raises(ValueError, match="cost must be finite at the start, got nan"):
        minimize(lambda: (x * math.nan).sum(), [x])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LBFGS(memory=0), "memory must be at least 1"),
        (lambda: WolfeSearch(sufficient_decrease=0.5, curvature=0.4), "0 < sufficient_decrease < curvature < 1"),
        (lambda: WolfeSearch(max_doublings=0), "max_doublings must be at least 1"),
        (lambda: TrustRegions(kappa=1.0), "kappa must be .*below 1"),
        (lambda: TrustRegions(theta=0.0), "theta must be .*above 0"),
        (lambda: TrustRegions(acceptance=0.25), "acceptance must be .*below 0.25"),
        (lambda: TrustRegions(largest_radius=-1.0), "largest_radius must be .*above 0"),
        (lambda: HagerZhang(eta=0.0), "eta must be .*above 0"),
        (lambda: ConjugateGradient(HestenesStiefel), "rule must be an object"),
    ],
)
def test_wrong_settings_are_named(make, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("method", [TrustRegions(), LBFGS(), ConjugateGradient(), SteepestDescent()], ids=str)
@pytest.mark.parametrize("rate", [100.0, 600.0])
def test_a_trial_that_explodes_does_not_count_as_rounding(method, rate):
    """The first trials of a steep exponential are e³⁰ and more; the minimum is where its slope is 1."""
    place = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    result = minimize(lambda: (torch.exp(rate * (place - 0.05)) - place).sum(), [place], method, max_iterations=500)
    assert abs(rate * math.exp(rate * (place.item() - 0.05)) - 1) < 1e-4
    assert (np.diff(result.history.cost) <= 1e-12).all()


def test_a_preconditioner_survives_a_refused_step():
    place = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    method = TrustRegions(initial_radius=1.0, largest_radius=10.0, preconditioner=list)
    result = minimize(lambda: (1 - place[0]) ** 2 + 100 * (place[1] - place[0] ** 2) ** 2, [place], method)
    assert (result.history.step == 0).sum() > 1  # the start's, and refused ones
    torch.testing.assert_close(place.detach(), torch.ones(2, dtype=torch.float64))


def test_autocast_around_a_minimization_changes_nothing() -> None:
    x, cost, _ = brockett(12, 3, 0)
    expected = minimize(cost, [x], LBFGS())
    x, cost, _ = brockett(12, 3, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert minimize(cost, [x], LBFGS()).cost == expected.cost
