"""Searches for learning rates: pure, they end, and what they choose is the best of what they tried."""

import importlib.util
import itertools
import math
import statistics
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import composite

from sttp.study import optuna_search
from sttp.study.optuna_search import OptunaSearch
from sttp.study.search import STRATEGIES, Bisection, GridSearch, Progress, Strategy


@composite
def grids(draw, least=1):
    """Ascending rates, as wide as floats are."""
    exponents = st.integers(-300, 300) if draw(st.booleans()) else st.integers(-6, 2)
    found = draw(st.lists(exponents, min_size=least, max_size=5, unique=True))
    return tuple(float(f"{draw(st.sampled_from([1, 3, 5]))}e{exponent}") for exponent in sorted(found))


strategies = st.one_of(
    st.builds(GridSearch, grids(), st.integers(0, 12)),
    st.builds(Bisection, grids(2), st.integers(5, 40)),
)
# The best rate by its logarithm, also beyond all that floats have; ties where it says nothing.
peaks = st.one_of(st.floats(-800, 800), st.none())


def order(peak):
    return lambda rate: (0.0 if peak is None else -abs(math.log(rate) - peak), 1.0)


def followed(strategy, value):
    """Follow a search to its end; return where it stood on the way."""
    tried, states = {}, []
    for _ in range(100):
        state = strategy.follow(tried)
        assert state == strategy.follow(dict(reversed(tried.items())))  # no state of its own, and no order of results
        states.append(state)
        if state.chosen is not None:
            return states, tried
        assert state.missing
        tried |= {rate: value(rate) for rate in state.missing}
    raise AssertionError("the search does not end")


@given(strategies, peaks)
def test_a_search_ends_and_chooses_the_best_of_what_it_tried(strategy, peak):
    value = order(peak)
    states, tried = followed(strategy, value)
    for state in states:
        assert list(state.rates) == sorted(set(state.rates))
        assert all(0 < rate < math.inf for rate in state.rates)
        assert set(state.missing) == set(state.rates) - set(tried) or state.chosen is None
        assert set(strategy.learning_rates) <= set(state.rates)
    for before, after in itertools.pairwise(states):
        assert set(before.rates) <= set(after.rates)  # nothing that was tried is given up
    end = states[-1]
    assert set(end.rates) == set(tried)
    assert value(end.chosen) == max(value(rate) for rate in tried)
    assert end.expected == len(end.rates)
    if isinstance(strategy, GridSearch):
        assert len(end.rates) <= len(strategy.learning_rates) + strategy.extensions
    else:
        assert len(end.rates) <= strategy.trials


@given(strategies, peaks)
def test_a_search_asks_for_nothing_that_it_has(strategy, peak):
    states, _ = followed(strategy, order(peak))
    asked = [rate for state in states for rate in state.missing]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    ("peak", "rates", "at_edge"),
    [
        (0.03, (0.01, 0.03, 0.09), False),
        (0.1, (0.01, 0.03, 0.09, 0.27), False),
        (9.0, (0.01, 0.03, 0.09, 0.27, 0.81), True),
        (0.0001, (0.00111111, 0.00333333, 0.01, 0.03, 0.09), True),
    ],
)
def test_a_grid_goes_on_where_the_best_lies_at_its_edge(peak, rates, at_edge):
    states, _ = followed(GridSearch((0.01, 0.03, 0.09), 2), order(math.log(peak)))
    assert states[-1].rates == rates
    assert states[-1].at_edge == at_edge


def test_bisection_goes_between_the_best_and_its_wider_gap():
    states, _ = followed(Bisection((0.01, 0.1, 1.0), 5), order(math.log(0.2)))
    assert states[-1].rates == (0.01, 0.1, 0.316228, 0.562342, 1.0)
    assert states[-1].chosen == 0.316228


@pytest.mark.parametrize("strategy", [GridSearch((1e-300, 1e300), 9), Bisection((1e-300, 1e300), 9)])
@pytest.mark.parametrize("peak", [-9999.0, 9999.0])
def test_rates_end_where_floats_do(strategy, peak):
    states, _ = followed(strategy, order(peak))
    assert len(states[-1].rates) == 2


@pytest.mark.parametrize(
    ("kind", "keys", "error", "message"),
    [
        (GridSearch, {"learning_rates": (0.3, 0.1)}, ValueError, "must ascend.*sort them"),
        (GridSearch, {"learning_rates": ()}, ValueError, "at least one entry"),
        (GridSearch, {"learning_rates": (0.1, 0.1)}, ValueError, "no entry twice, got 0.1 again"),
        (GridSearch, {"learning_rates": [0.1]}, TypeError, "must be a list"),
        (GridSearch, {"learning_rates": (0.0,)}, ValueError, "learning_rates must be.*got 0.0"),
        (GridSearch, {"learning_rates": (float("nan"),)}, ValueError, "learning_rates"),
        (GridSearch, {"learning_rates": ("a",)}, TypeError, "learning_rates.*'a'"),
        (GridSearch, {"extensions": -1}, ValueError, "extensions must be.*-1"),
        (Bisection, {"learning_rates": (0.1,)}, ValueError, "two at least.*add another"),
        (Bisection, {"trials": 2}, ValueError, "trials must be at least 3"),
        (OptunaSearch, {"lowest_rate": 1.0, "highest_rate": 0.1}, ValueError, "lowest_rate must be below highest_rate"),
        (OptunaSearch, {"trials": 0}, ValueError, "trials"),
        (OptunaSearch, {"sampler": 3}, TypeError, "sampler must be a string"),
    ],
)
def test_bad_options_of_searches_are_refused_by_name(kind, keys, error, message):
    with pytest.raises(error, match=message):
        kind(**keys)


def test_a_search_of_one_s_own_is_registered(monkeypatch):
    class First(Strategy):
        def follow(self, tried):
            return Progress((0.5,), () if 0.5 in tried else (0.5,), 0.5 if 0.5 in tried else None, 1)

    monkeypatch.setitem(STRATEGIES._entries, "first", None)
    STRATEGIES.add("first", First)
    assert followed(STRATEGIES["first"](), order(0.0))[0][-1].chosen == 0.5


# --- Optuna ---

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed")


@needs_optuna
@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler"])
def test_optuna_s_rates_depend_on_what_was_tried_alone(sampler):
    search = OptunaSearch(1e-3, 1.0, 14, sampler, 3)
    states, tried = followed(search, order(math.log(0.05)))
    assert all(len(state.missing) == 1 for state in states[:-1])
    assert all(1e-3 <= rate <= 1.0 for rate in tried)
    assert len(tried) == 14
    optuna_search._proposed.cache_clear()  # as in another process, which goes on from any of these moments
    for k in range(14):
        some = dict(list(tried.items())[:k])
        assert search.follow(some).missing == (list(tried)[k],)
    value = order(math.log(0.05))
    assert states[-1].chosen == max(tried, key=value)


@needs_optuna
def test_optuna_learns_from_places_and_not_from_values():
    # The same order in other numbers, infinite ones and ties among them, gives the same rates.
    def steep(rate):
        return (-math.inf if rate > 0.5 else -(abs(math.log(rate / 0.05)) ** 3), 0.0)

    def flat(rate):
        return (-math.inf if rate > 0.5 else -abs(math.log(rate / 0.05)) / 1000, 0.0)

    search = OptunaSearch(1e-3, 1.0, 40)
    rates = list(followed(search, steep)[1])
    assert rates == list(followed(search, flat)[1])
    distances = [abs(math.log(rate / 0.05)) for rate in rates]
    assert statistics.median(distances[20:]) < statistics.median(distances[:10])


@needs_optuna
def test_an_unknown_sampler_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="sampler has no choice 'TPSampler'; did you mean 'TPESampler'"):
        OptunaSearch(sampler="TPSampler").follow({})


def test_without_optuna_a_search_is_refused_and_a_finished_one_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(optuna_search, "_is_installed", lambda: False)
    optuna_search._proposed.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'sttp-torch\[optuna\]'"):
        OptunaSearch(trials=2).follow({})
    found = OptunaSearch(trials=2).follow({0.1: (1.0,), 0.2: (2.0,)})
    assert (found.chosen, found.missing) == (0.2, ())
