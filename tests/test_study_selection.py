"""The choice of learning rates, the intervals and the sentences, on made-up results."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from studies import TINY, made_up

from sttp.study import TASKS, Curve, Method, Study
from sttp.study.report.findings import findings
from sttp.study.report.intervals import Interval
from sttp.study.report.summary import summarize
from sttp.study.selection import chosen_runs, expected_total, pending_runs, planned_runs, search

CURVE = TINY.curves[1]


def results_of(scores, study=TINY, curve=CURVE):
    """Results of the first seed by learning rate: a score, or None for one that diverged."""
    runs = {study.run(curve, rate, study.seeds[0]): score for rate, score in scores.items()}
    return {run: made_up(run, diverged_at=1) if score is None else made_up(run, score) for run, score in runs.items()}


def complete(study, score):
    """Follow the plan to its end with made-up scores; return the results and the rounds that it took."""
    results, rounds = {}, []
    while pending := pending_runs(study, results):
        rounds.append(len(pending))
        results |= {run: made_up(run, **score(run)) for run in pending}
    return results, rounds


THREE = replace(TINY, learning_rates=(0.01, 0.03, 0.09), extensions=2)


@pytest.mark.parametrize(
    ("scores", "chosen", "rates"),
    [
        ({0.01: 0.5, 0.03: 0.9, 0.09: 0.6}, 0.03, (0.01, 0.03, 0.09)),
        ({0.01: None, 0.03: 0.1, 0.09: None}, 0.03, (0.01, 0.03, 0.09)),
        # At an edge the grid goes on by the ratio of the last two; a tie goes to the lower rate.
        ({0.01: 0.5, 0.03: 0.6, 0.09: 0.7, 0.27: 0.6}, 0.09, (0.01, 0.03, 0.09, 0.27)),
        ({0.01: 0.7, 0.03: 0.6, 0.09: 0.5, 0.00333333: 0.1}, 0.01, (0.00333333, 0.01, 0.03, 0.09)),
        ({0.01: 0.5, 0.03: 0.5, 0.09: 0.5, 0.00333333: 0.1}, 0.01, (0.00333333, 0.01, 0.03, 0.09)),
    ],
)
def test_the_best_rate_inside_the_extended_grid_is_chosen(scores, chosen, rates):
    found = search(THREE, CURVE, results_of(scores, THREE))
    assert (found.chosen, found.rates, found.missing, found.at_edge) == (chosen, rates, (), False)


def test_equal_scores_are_told_apart_by_the_loss():
    results = results_of({0.01: 0.5, 0.09: 0.5}, THREE)
    run = THREE.run(CURVE, 0.03, 0)
    results[run] = made_up(run, score=0.5, loss=0.9)
    assert search(THREE, CURVE, results).chosen == 0.03


def test_extensions_are_bounded_and_the_edge_is_told():
    def rising(run):
        return {"score": min(run.learning_rate, 1.0)}

    results, rounds = complete(THREE, rising)
    found = search(THREE, CURVE, results)
    assert found.rates == (0.01, 0.03, 0.09, 0.27, 0.81)
    assert (found.chosen, found.at_edge) == (0.81, True)
    assert rounds == [6, 2, 2, 2]
    assert any("edge" in sentence for sentence in findings(summarize(THREE, results), TASKS["digits"]))


def test_the_search_waits_for_missing_results():
    found = search(THREE, CURVE, results_of({0.01: 0.5, 0.09: 0.7}, THREE))
    assert (found.chosen, found.missing) == (None, (0.03,))
    assert chosen_runs(THREE, CURVE, {}) == []


def test_one_rate_is_no_grid_to_extend():
    study = replace(TINY, learning_rates=(0.1,))
    found = search(study, CURVE, results_of({0.1: 0.5}, study))
    assert (found.chosen, found.at_edge) == (0.1, False)


def test_nothing_but_the_validation_of_the_first_seed_selects():
    def score(run):
        return {"score": 0.5 - abs(run.learning_rate - 0.03), "test": 1.0 if run.learning_rate == 0.01 else 0.0}

    results, _ = complete(THREE, score)
    assert {run.learning_rate for curve in THREE.curves for run in chosen_runs(THREE, curve, results)} == {0.03}


def test_the_plan_is_the_grid_and_the_other_seeds_of_the_winner_and_the_total_is_foreseen():
    results, _ = complete(THREE, lambda run: {"score": 0.5 - abs(run.learning_rate - 0.03)})
    assert len(results) == len(planned_runs(THREE, results)) == 2 * (3 + 1) == expected_total(THREE, {})
    assert [run.seed for run in chosen_runs(THREE, CURVE, results)] == [0, 1]
    assert pending_runs(THREE, results) == []


def test_curves_take_turns():
    assert [str(run.curve) for run in pending_runs(THREE, {})] == ["dense", "sttp stiefel, rank 2"] * 3


def test_a_curve_whose_every_run_diverges_is_summarized_all_the_same():
    results, _ = complete(THREE, lambda run: {"diverged_at": 1} if run.rank else {})
    summary = summarize(THREE, results)[1]
    assert summary.diverged == 2
    assert summary.test == Interval(None, None, 0)
    assert summary.test.text() == "–"
    assert any(
        "sttp stiefel, rank 2 (2)" in sentence for sentence in findings(summarize(THREE, results), TASKS["digits"])
    )


@pytest.mark.parametrize("count", [2, 5, 12])
def test_intervals_are_those_of_scipy(count):
    sample = np.random.default_rng(count).normal(3, 2, count)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    interval = Interval.of(sample)
    assert interval.mean == pytest.approx(sample.mean(), rel=1e-12)
    assert interval.mean - interval.half_width == pytest.approx(expected.low, rel=1e-10)
    assert interval.mean + interval.half_width == pytest.approx(expected.high, rel=1e-10)
    assert interval.excludes_zero == (expected.low > 0 or expected.high < 0)


def test_one_value_has_no_interval():
    assert Interval.of([2.0]) == Interval(2.0, None, 1)
    assert Interval.of([2.0]).text(100, 1) == "200.0"
    assert not Interval.of([2.0]).excludes_zero
    assert Interval.of([1.0, 3.0]).text(1, 1) == "2.0 ± 12.7"  # t at one degree of freedom is 12.706


def told(scores, sizes):
    """The findings of a study in which each curve has the given scores by seed."""
    methods = tuple(Method.parse(str(curve.method)) for curve in scores)
    study = Study("s", tuple(dict.fromkeys(methods)), (2, 8), learning_rates=(0.1,), seeds=(0, 1, 2), steps=5)
    results = {}
    for curve in study.curves:
        for seed in study.seeds:
            run = study.run(curve, 0.1, seed)
            results[run] = made_up(run, test=scores[curve][seed], z=sizes[curve])
    return "\n".join(findings(summarize(study, results), TASKS["digits"]))


STTP2, STTP8 = (Curve(Method("sttp", "stiefel"), rank, "free") for rank in (2, 8))
PAPER2, PAPER8 = (Curve(Method("sttp", "householder-reduced"), rank, "free") for rank in (2, 8))
SVDP2, SVDP8 = (Curve(Method("svdp", "stiefel"), rank, "free") for rank in (2, 8))


@pytest.mark.parametrize(("gain", "verdict"), [(0.1, "better"), (-0.1, "worse")])
def test_equal_sizes_are_compared_seed_by_seed(gain, verdict):
    # The seeds differ by more than the methods: only paired differences see it.
    seeds = np.array([0.2, 0.5, 0.8])
    scores = {STTP2: seeds, STTP8: seeds + gain + np.array([0, 0.001, -0.001]), SVDP2: seeds, SVDP8: seeds}
    text = told(scores, {STTP2: 3.0, STTP8: 11.0, SVDP2: 10.0, SVDP8: 30.0})
    assert f"at about equal size, in test accuracy: {verdict} ({'+' if gain > 0 else '−'}10.0 ± 0.2 points" in text
    assert "STTP at rank 8 keeps Z = 11.0 %" in text
    assert "SVDP at rank 2 keeps 10.0 %" in text


def test_sizes_that_are_not_near_are_not_compared():
    scores = dict.fromkeys((STTP2, STTP8, SVDP2, SVDP8), np.array([0.1, 0.2, 0.3]))
    assert "equal size" not in told(scores, {STTP2: 3.0, STTP8: 5.0, SVDP2: 10.0, SVDP8: 30.0})


def test_stiefel_products_and_householder_charts_are_compared_by_rank():
    seeds = np.array([0.2, 0.5, 0.8])
    scores = {
        STTP2: seeds + np.array([0.05, 0.051, 0.049]),
        STTP8: seeds + np.array([0.05, -0.05, 0.01]),
        PAPER2: seeds,
        PAPER8: seeds,
    }
    text = told(scores, {STTP2: 3.0, STTP8: 5.0, PAPER2: 3.0, PAPER8: 5.0})
    assert "better at rank 2 (+5.0 ± 0.2 points)" in text
    assert "no clear difference at rank 8" in text
    assert "takes 1.00 times as long" in text
