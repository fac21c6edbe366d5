"""Ranks by a tolerance and by a budget: exact ranks are found, budgets are met, nested, and better than one rank."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sttp.layers import STTP, SVDP, Householder, Identity, ranks_for, reparameterize, report
from sttp.manifolds import SpectralTensorTrain, TrainShape, ranks_within

settings.register_profile("ranks", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("ranks")
# Modes of the layers of `network`, and the ranks that their weights have.
TRUTH = {
    "0": TrainShape((2, 2, 3), (2, 2, 2, 3), (2, 3, 4, 5, 4, 3)),
    "2": TrainShape((2, 2, 2), (2, 2, 3), (2, 2, 2, 2, 2)),
    "3": TrainShape((2, 3), (2, 2, 2), (2, 4, 4, 2)),
}


def network(dtype=torch.float64, noise=0.0):
    """Return layers whose weights are trains of the ranks of TRUTH, with noise relative to the weight."""
    source = torch.Generator().manual_seed(3)
    layers = nn.Sequential(nn.Linear(24, 12), nn.Tanh(), nn.Linear(12, 8), nn.Linear(8, 6)).to(dtype)
    for name, shape in TRUTH.items():
        train = SpectralTensorTrain(shape)
        weight = train.to_matrix(train.random(dtype=torch.float64, generator=source))
        added = torch.randn(weight.shape, dtype=weight.dtype, generator=source)
        weight = weight + noise * added * weight.norm() / added.norm()
        layers.get_submodule(name).weight.data.copy_(weight)
    return layers


def ranks_of(layers):
    return {name: layers.get_submodule(name).spectral.manifold.shape.ranks for name in TRUTH}


def squared_error(layers):
    return sum(row.fit_error**2 for row in report(layers).layers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [None, 20])
def test_exact_ranks_are_found_by_a_small_tolerance(dtype, rank):
    spec = STTP(rank, tolerance=1e-6)
    layers = reparameterize(network(dtype), spec, init="weights")
    assert ranks_of(layers) == {name: shape.ranks for name, shape in TRUTH.items()}
    assert report(network(dtype), spec).dof == report(layers).dof


@given(st.integers(0, 10**6), st.floats(0.01, 0.9))
def test_errors_are_within_the_tolerance(seed, tolerance):
    source = torch.Generator().manual_seed(seed)
    values = torch.rand(16, dtype=torch.float64, generator=source) ** 4
    weight = (
        torch.randn(16, 16, dtype=torch.float64, generator=source)
        * values
        @ torch.randn(16, 24, dtype=torch.float64, generator=source)
    )
    shape = TrainShape((2, 2, 2, 2), (2, 2, 2, 3), 16)
    found = ranks_within(weight, shape, tolerance)
    assert SpectralTensorTrain(found).from_matrix(weight).error <= tolerance * (1 + 1e-9)
    plain = ranks_within(weight, TrainShape((16,), (24,), 16), tolerance)  # one bond: the least rank of all
    tails = np.sqrt(
        np.cumsum(np.linalg.svd(weight.numpy(), compute_uv=False)[::-1] ** 2)[::-1] / float(weight.norm()) ** 2
    )
    assert plain.center_rank == max(1, int((tails > tolerance).sum()))


@pytest.mark.parametrize("modes", ["prime", "auto", "balanced"])
@pytest.mark.parametrize(("rows", "columns"), [(10, 432), (432, 10), (47, 6)])
def test_a_tolerance_alone_is_met_where_bonds_have_higher_ranks_than_the_matrix(rows, columns, modes):
    layer = nn.Linear(columns, rows)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    assert reparameterize(layer, STTP(tolerance=0.2, modes=modes), init="weights").spectral.fit_error <= 0.2 * (
        1 + 1e-6
    )


def test_rank_bounds_a_tolerance():
    layers = reparameterize(network(), STTP(3, tolerance={"2": 0.5, "*": 1e-6}), init="weights")
    assert max(max(ranks) for ranks in ranks_of(layers).values()) == 3
    assert max(ranks_of(layers)["2"]) < 3


@pytest.mark.parametrize(
    "spec", [STTP(rank=1), SVDP(rank=1), STTP(rank=1, modes="auto"), SVDP(1, spectrum=Identity())], ids=str
)
def test_budgets_are_met_and_nested(spec):
    least = report(network(), spec).z
    before = None
    for z in (least, 45.0, 60.0, 80.0, 1000.0):
        if z < least:
            continue
        ranks = ranks_for(network(), spec, z=z)
        ranked = replace(spec, rank=ranks)
        assert report(network(), ranked).z <= z
        if before is not None:
            assert all(old <= new for name in ranks for old, new in zip(before[name], ranks[name], strict=True))
        before = ranks
    if not isinstance(spec.spectrum, Identity):
        whole = reparameterize(network(), replace(spec, rank=before), init="weights")
        assert squared_error(whole) < 1e-20  # nothing is left to gain


def unequal(noise=0.01):
    """Return layers whose weights have the TT ranks 2, 6 and 12, and noise."""
    source = torch.Generator().manual_seed(4)
    layers = nn.Sequential(*(nn.Linear(48, 32, bias=False) for _ in range(3))).double()
    for layer, rank in zip(layers, (2, 6, 12), strict=True):
        train = SpectralTensorTrain(TrainShape((2,) * 5, (2, 2, 2, 2, 3), rank))
        weight = train.to_matrix(train.random(dtype=torch.float64, generator=source))
        added = torch.randn(weight.shape, dtype=weight.dtype, generator=source)
        layer.weight.data.copy_(weight + noise * added * weight.norm() / added.norm())
    return layers


@pytest.mark.parametrize("rank", [3, 5, 8])
@pytest.mark.parametrize("kind", [STTP, SVDP])
def test_ranks_of_their_own_beat_one_rank_at_an_equal_budget(kind, rank):
    one = reparameterize(unequal(), kind(rank), init="weights")
    each = reparameterize(unequal(), kind(ranks_for(unequal(), kind(1), z=report(one).z)), init="weights")
    assert report(each).z <= report(one).z
    assert squared_error(each) < 0.95 * squared_error(one)


def test_exact_ranks_are_enough_for_the_water():
    """At the budget of the true ranks the weights are exact: nothing else is worth as much."""
    exact = STTP({name: shape.rank for name, shape in TRUTH.items()})
    z = report(network(), exact).z
    ranks = ranks_for(network(), STTP(1), z=z)
    assert {name: (1, *ranks[name], 1) for name in TRUTH} == {name: shape.ranks for name, shape in TRUTH.items()}


def test_svdp_water_is_the_greedy_one_over_all_singular_values():
    """Where each weight has one bond, the water is known: values by what they take off for each parameter."""
    layers = network(noise=0.1)
    steps = []
    for name in TRUTH:
        weight = layers.get_submodule(name).weight.detach().numpy()
        squares = np.linalg.svd(weight, compute_uv=False) ** 2
        for rank, square in enumerate(squares[1:], 1):
            steps.append((square / squares.sum() / (sum(weight.shape) - 2 * rank - 1), name))
    for z in (50.0, 70.0, 90.0):
        found = ranks_for(layers, SVDP(1), z=z)
        taken = sum(ranks[0] - 1 for ranks in found.values())
        best = sorted(steps, reverse=True)[:taken]
        assert {name: (1 + sum(n == name for _, n in best),) for name in TRUTH} == dict(found)


@pytest.mark.parametrize("kind", [STTP, SVDP])
def test_several_budgets_at_once_are_those_one_by_one(kind):
    budgets = (80.0, 60.0, 70.0, 60.0)
    together = ranks_for(network(noise=0.1), kind(1), z=budgets)
    assert together == [ranks_for(network(noise=0.1), kind(1), z=z) for z in budgets]
    assert together[0] != together[1]


@pytest.mark.parametrize("order", ["parallel", "sequential"])
def test_progress_is_shown_on_the_standard_error_and_changes_nothing(order, capsys):
    data = [torch.randn(8, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))]
    layers = network()
    quiet = ranks_for(layers, STTP(1), z=60.0, calibration=data)
    calibrated = {"init": "weights", "calibration": data, "order": order}
    reparameterize(layers, STTP(quiet), inplace=False, **calibrated)
    assert capsys.readouterr() == ("", "")
    assert ranks_for(layers, STTP(1), z=60.0, calibration=data, progress=True) == quiet
    seen = capsys.readouterr()
    assert not seen.out
    assert all(f"{k}/{len(TRUTH)}: {name}" in seen.err for k, name in enumerate(TRUTH, 1))
    reparameterize(layers, STTP(quiet), progress=True, **calibrated)
    assert f"{len(TRUTH)}/{len(TRUTH)}" in capsys.readouterr().err


def test_a_refusal_ends_the_progress():
    layers = network()
    layers[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        reparameterize(layers, STTP(2), init="weights", progress=True)
    reparameterize(network(), STTP(2), init="weights", progress=True)  # of which a terminal has one at a time


@pytest.mark.parametrize(
    ("error", "act", "words"),
    [
        (ValueError, lambda: ranks_for(network(), STTP(1), z=1.0), ["z", "at least", "1.0"]),
        (ValueError, lambda: ranks_for(network(), STTP(1), z=float("nan")), ["z", "nan"]),
        (ValueError, lambda: ranks_for(network(), STTP(1), z=(90.0, 1.0)), ["z", "at least", "1.0"]),
        (ValueError, lambda: ranks_for(network(), STTP(1), z=()), ["z", "()"]),
        (TypeError, lambda: ranks_for(network(), STTP(1), z=(60.0, "70")), ["z", "70"]),
        (TypeError, lambda: ranks_for(network(), STTP(1), z=60.0, progress="yes"), ["progress", "yes"]),
        (TypeError, lambda: reparameterize(network(), STTP(1), progress="yes"), ["progress", "yes"]),
        (TypeError, lambda: ranks_for(network(), 30.0, z=30.0), ["spec", "rank_for"]),
        (ValueError, lambda: ranks_for(nn.Linear(4, 4, device="meta"), SVDP(1), z=90.0), ["meta", "load"]),
        (ValueError, lambda: ranks_for(nn.ReLU(), SVDP(1), z=90.0), ["nothing to reparameterize"]),
        (ValueError, lambda: reparameterize(network(), STTP(4, tolerance=0.1)), ["tolerance", "init='weights'"]),
        (ValueError, lambda: report(nn.Linear(4, 4, device="meta"), SVDP(tolerance=0.1)), ["tolerance", "meta"]),
    ],
)
def test_what_cannot_be_is_refused(error, act, words):
    with pytest.raises(error) as caught:
        act()
    assert all(word in str(caught.value) for word in words)


def test_least_budget_that_is_named_can_be_met():
    with pytest.raises(ValueError, match="at least") as caught:
        ranks_for(network(), STTP(1, frames=Householder()), z=0.1)
    least = float(str(caught.value).split("at least ")[1].split()[0])
    assert set(ranks_for(network(), STTP(1), z=least + 1e-3)["0"]) == {1}
