"""Which runs a study makes: designs, and plans that are pure functions of the results."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_kind import made_up, toy

from sttp.study.design import DESIGNS, Grid, OneAtATime
from sttp.study.schedule import chosen_runs, expected_runs, expected_total, pending_runs, planned_runs, progress

values = st.lists(st.one_of(st.integers(0, 5), st.sampled_from("abc")), min_size=1, max_size=4, unique=True).map(tuple)
factors = st.dictionaries(st.sampled_from(["rank", "method", "data", "metric"]), values, max_size=4)


@given(factors)
def test_a_grid_has_every_combination_once(factors):
    found = list(Grid().assignments(factors, {}))
    count = 1
    for some in factors.values():
        count *= len(some)
    assert len(found) == count
    assert len({tuple(assignment.items()) for assignment in found}) == count
    for assignment in found:
        assert list(assignment) == list(factors)
        assert all(value in factors[name] for name, value in assignment.items())
    assert Grid().groups(factors, {}) == {}


@given(factors, st.data())
def test_one_at_a_time_changes_one_factor_alone(factors, data):
    centre = {name: data.draw(st.sampled_from([*some, "centre"])) for name, some in factors.items()}
    crossed = data.draw(st.lists(st.sampled_from(sorted(factors)), unique=True)) if factors else []
    design = OneAtATime(tuple(crossed))
    found = list(design.assignments(factors, centre))
    free = [name for name in factors if name not in crossed]
    for assignment in found:
        changed = [name for name in free if assignment[name] != centre[name]]
        assert len(changed) <= 1
        assert all(assignment[name] in factors[name] for name in [*changed, *crossed])
    # Each value of each factor is there, with each combination of the crossed ones.
    combinations = 1
    for name in crossed:
        combinations *= len(factors[name])
    for name in free:
        for value in factors[name]:
            expected = {**centre, name: value}
            matching = [a for a in found if all(a[other] == expected[other] for other in free)]
            assert len(matching) == combinations
    if free:  # no combination comes twice
        assert len({tuple(sorted(a.items(), key=str)) for a in found}) == len(found)


@given(factors)
def test_groups_of_a_design_are_among_its_assignments(factors):
    centre = {name: some[-1] for name, some in factors.items()}
    found = list(OneAtATime().assignments(factors, centre))
    for name, group in OneAtATime().groups(factors, centre).items():
        assert all(assignment in found for assignment in group)
        assert {assignment[name] for assignment in group} == set(factors[name])


def test_designs_are_known_by_name():
    assert DESIGNS["grid"] == Grid()
    assert DESIGNS["one-at-a-time"] == OneAtATime()


# --- plans ---

STUDY = toy(sizes=[1, 2, 3], learning_rates=[0.1, 0.3, 0.9], extensions=2)


def gap_of(run):
    """A made-up outcome: its best rate depends on the size, and the last size diverges at high rates."""
    if run.learning_rate is None:
        return {"gap": 0.1}
    if run.case.size == 3 and run.learning_rate > 0.5:
        return {"diverged_at": 1}
    return {"gap": abs(run.learning_rate - {1: 0.3, 2: 9.0, 3: 0.01, 4: 0.2}[run.case.size]) + run.seed / 100}


def complete(study, choose):
    """Follow the plan to its end, some of the runs that can start at a time; return the results in their order."""
    results = {}
    while pending := pending_runs(study, results):
        assert len(set(pending)) == len(pending)
        assert not set(pending) & set(results)
        for run in choose(pending):
            results[run] = made_up(run, **gap_of(run))
    return results


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_any_order_of_completion_leads_to_the_same_runs(rng):
    expected = complete(STUDY, list)

    def some(pending):
        return rng.sample(pending, rng.randint(1, len(pending)))

    found = complete(STUDY, some)
    assert found == expected
    assert planned_runs(STUDY, found) == planned_runs(STUDY, expected)
    assert set(planned_runs(STUDY, found)) == set(found)


def test_a_plan_depends_on_the_results_alone():
    results = complete(STUDY, list)
    some = dict(random.Random(0).sample(list(results.items()), len(results) // 2))
    before = dict(some)
    assert pending_runs(STUDY, some) == pending_runs(STUDY, some)
    assert some == before
    # A lost result is asked for again, and nothing that is there.
    assert set(pending_runs(STUDY, some)) <= set(results) - set(some)


def test_each_case_is_reported_with_all_seeds_at_its_best_rate():
    results = complete(STUDY, list)
    rates = {1: 0.3, 2: 8.1, 3: 0.0111111}
    for case in STUDY.cases:
        runs = chosen_runs(STUDY, case, results)
        assert [run.seed for run in runs] == list(STUDY.seeds)
        assert {run.learning_rate for run in runs} == {rates[case.size] if case.needs_rate else None}
        assert chosen_runs(STUDY, case, {}) == ([] if case.needs_rate else runs)


def test_totals_are_those_of_the_plan():
    assert expected_total(STUDY, {}) == 3 * (3 + 1) + 3 * 2
    results = complete(STUDY, list)
    assert expected_total(STUDY, results) == len(results) == len(planned_runs(STUDY, results))
    for case in STUDY.cases:
        assert expected_runs(STUDY, case, results) == sum(run.case == case for run in results)


def test_a_tuning_seed_of_its_own_is_no_reported_one():
    study = toy(takes=["plain"], tuning_seed=7)
    results = complete(study, list)
    assert {run.seed for run in results} == {0, 1, 7}
    assert len(results) == expected_total(study, results) == expected_total(study, {}) + 1
    assert all(run.seed != 7 for case in study.cases for run in chosen_runs(study, case, results))


def test_cases_take_turns():
    first = pending_runs(STUDY, {})[: len(STUDY.cases)]
    assert [run.case for run in first] == list(STUDY.cases)


def test_results_of_other_studies_are_not_looked_at():
    results = complete(STUDY, list)
    other = complete(toy(sizes=[4], learning_rates=[0.2]), list)
    assert planned_runs(STUDY, results | other) == planned_runs(STUDY, results)


def test_no_rate_is_known_of_a_case_that_needs_none():
    case = next(case for case in STUDY.cases if not case.needs_rate)
    assert progress(STUDY, case, {}) is None


def test_plans_of_many_runs_take_time_in_proportion():
    def seconds(count):
        study = toy(takes=["plain"], sizes=list(range(1, count + 1)), seeds=list(range(8)))
        results = {}
        while pending := pending_runs(study, results):
            results |= {run: made_up(run, gap=abs(run.learning_rate - 0.3)) for run in pending}
        assert len(results) == count * 10
        start = time.perf_counter()
        assert pending_runs(study, results) == []
        assert expected_total(study, results) == len(results)
        return time.perf_counter() - start

    few, many = min(seconds(20) for _ in range(3)), seconds(300)
    assert many < 80 * few  # which a check of each run against all others would not be


def test_many_seeds_are_distinct_in_time():
    start = time.perf_counter()
    assert len(toy(takes=["halving"], seeds=list(range(20_000))).seeds) == 20_000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("size", [1, 2])
def test_all_that_diverges_is_chosen_from_all_the_same(size):
    study = toy(takes=["plain"], sizes=[size])
    results = {}
    while pending := pending_runs(study, results):
        results |= {run: made_up(run, diverged_at=1) for run in pending}
    assert len(chosen_runs(study, study.cases[0], results)) == 2
