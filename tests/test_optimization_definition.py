"""Studies of optimizers: what they are made of, the search for learning rates, profiles and ranks."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import sttp.optim
from sttp.manifolds import Householder, Riemannian
from sttp.optim import RiemannianSGD
from sttp.study.optimization import (
    METHODS,
    OPTIMIZER_STUDIES,
    DigitsTraining,
    OptimizationResult,
    OptimizationRun,
    OptimizationTiming,
    OptimizerStudy,
    Setting,
    optimizer_study,
    optimizer_study_of,
    register_optimizer,
)
from sttp.study.optimization.profiles import mean_ranks, performance_ratios, profile
from sttp.study.optimization.selection import chosen_runs, expected_total, pending_runs, planned_runs, search
from sttp.study.optimizers import OPTIMIZERS
from sttp.study.problems import Completion, LowRankApproximation, Procrustes, Recovery

STUDY = OptimizerStudy(
    name="tiny",
    problems=(Procrustes(n=6, p=2), DigitsTraining()),
    optimizers=("riemannian-sgd",),
    methods=("lbfgs",),
    trials=6,
    seeds=(0, 1),
)
PROBLEM = STUDY.problems[0]


def made_up(run, gap):
    """A result that ends with a gap, or that diverged where it is infinite."""
    gaps, diverged = ((1.0, gap), None) if math.isfinite(gap) else ((1.0,), 1)
    count = len(gaps)
    timing = OptimizationTiming((0.0, 0.5)[:count], 1)
    counts = tuple(range(0, 10 * count, 10))
    return OptimizationResult(run, counts, counts, counts, gaps, (0.0,) * count, diverged, None, timing, {"torch": "0"})


def search_to_the_end(study, setting, gap_at):
    """Follow a search whose runs end with gaps that are a function of the rate; return it and the rates in order."""
    results, order = {}, []
    while (state := search(study, setting, PROBLEM, results)).chosen is None:
        order.append(state.missing)
        for rate in state.missing:
            run = study.run(setting, PROBLEM, rate, study.tuning_seed)
            results[run] = made_up(run, gap_at(rate))
    return state, order, results


# --- learning rates ---


@pytest.mark.parametrize("best", [1e-5, 0.001, 0.02, 0.1, 0.7, 30.0])
def test_every_search_takes_the_same_number_of_runs_and_comes_near_the_best_rate(best):
    state, order, _ = search_to_the_end(STUDY, STUDY.centre, lambda rate: abs(math.log(rate / best)) + 1e-6)
    assert len(state.rates) == STUDY.trials == sum(map(len, order))
    assert list(state.rates) == sorted(set(state.rates))
    assert order[0] == STUDY.learning_rates
    if not state.at_edge:
        assert abs(math.log10(state.chosen / best)) < 0.5
    else:  # three rates beyond the grid, a factor of ten each
        assert state.chosen == pytest.approx(3e-6 if best < 1 else 300) or best in (0.001, 0.7)
    assert state.chosen == min(state.rates, key=lambda rate: abs(math.log(rate / best)))


def test_the_search_halves_the_wider_gap_beside_the_best():
    _, order, _ = search_to_the_end(STUDY, STUDY.centre, lambda rate: abs(math.log(rate / 0.035)) + 1e-6)
    assert [rate for missing in order[1:] for rate in missing] == pytest.approx(
        [0.0948683, 0.00948683, 0.0533484], rel=1e-5
    )


def test_diverged_runs_are_never_chosen_and_equal_gaps_go_to_the_faster():
    state, _, _ = search_to_the_end(STUDY, STUDY.centre, lambda rate: math.inf if rate > 0.05 else 1 / rate)
    assert state.chosen <= 0.05
    slow, fast = (STUDY.run(STUDY.centre, PROBLEM, rate, STUDY.tuning_seed) for rate in (0.003, 0.03))
    results = {slow: replace(made_up(slow, 1e-14), gaps=(1.0, 1e-14)), fast: made_up(fast, 1e-13)}
    results[fast] = replace(results[fast], gaps=(1e-3, 1e-13))
    for rate in (0.3,):
        run = STUDY.run(STUDY.centre, PROBLEM, rate, STUDY.tuning_seed)
        results[run] = made_up(run, 1.0)
    assert search(replace(STUDY, trials=3), STUDY.centre, PROBLEM, results).chosen == 0.03  # both are solved


def test_the_runs_of_a_study_are_as_many_as_foretold():
    results = {}
    while runs := pending_runs(STUDY, results):
        assert len(set(runs)) == len(runs)
        results |= {run: made_up(run, 1e-3) for run in runs}
    assert set(planned_runs(STUDY, results)) == set(results)
    # On Procrustes three settings, one of them without a rate; on digits the two with one.
    assert len(results) == expected_total(STUDY) == 4 * (6 + 2) + 2
    for setting, problem in STUDY.curves:
        runs = chosen_runs(STUDY, setting, problem, results)
        assert [run.seed for run in runs] == [0, 1]
        assert (runs[0].learning_rate is None) == (setting.optimizer == "lbfgs")
        assert {run.steps for run in runs} == {STUDY.steps if problem is PROBLEM else STUDY.training_steps}


# --- what is compared ---


def test_one_factor_is_changed_at_a_time():
    study = OPTIMIZER_STUDIES["optimizers"]
    names = (study.centre.optimizer, *study.optimizers)
    built = {type(OPTIMIZERS[name]([nn.Parameter(torch.ones(2))], 0.1)) for name in names}
    exported = {kind for kind in vars(sttp.optim).values() if isinstance(kind, type) and issubclass(kind, Optimizer)}
    assert built >= exported - {sttp.optim.RiemannianOptimizer, sttp.optim.FrameOptimizer}
    assert set(study.methods) == set(METHODS)
    for factor, settings in study.groups.items():
        assert settings[0] == study.centre == Setting()
        assert len(settings) > 2
        for setting in settings[1:]:
            changed = {name for name in vars(setting) if getattr(setting, name) != getattr(study.centre, name)}
            embedded = setting.metric == "embedded"
            assert changed == ({"metric", "geometry"} if embedded else {changed.copy().pop()}), factor
    assert len(set(study.curves)) == len(study.curves)
    deterministic = {problem for setting, problem in study.curves if setting.is_deterministic}
    assert deterministic == set(study.problems[:-1])
    on_frames = {setting.geometry for setting, problem in study.curves if isinstance(problem, Procrustes)}
    assert on_frames == {"stiefel", "householder"}
    embedded = {type(problem) for setting, problem in study.curves if setting.metric == "embedded"}
    assert embedded == {LowRankApproximation, Recovery, Completion, DigitsTraining}


def test_settings_are_geometries():
    assert Setting().manifold_geometry == Riemannian()
    canonical = Setting(metric="canonical", retraction="cayley", geometry="grassmann").manifold_geometry
    assert (canonical.metric, canonical.name, type(canonical.retraction).__name__) == (
        "canonical",
        "grassmann",
        "Cayley",
    )
    assert Setting(geometry="householder-reduced").manifold_geometry == Householder()
    assert str(Setting("lbfgs", metric="canonical")) == "lbfgs, metric canonical"


def test_equal_runs_have_equal_names_and_others_do_not():
    run = STUDY.run(STUDY.centre, PROBLEM, 0.1, 0)
    copy = OptimizationRun.from_dict(json.loads(json.dumps(run.to_dict())))
    assert (copy, copy.identifier) == (run, run.identifier)
    others = [
        replace(run, problem=Procrustes(n=6, p=2, seed=1)),
        replace(run, problem=DigitsTraining()),
        replace(run, setting=Setting(retraction="polar")),
        replace(run, learning_rate=0.2),
        replace(run, seed=1),
        replace(run, steps=9),
        replace(run, looks=9),
    ]
    assert len({run.identifier for run in [run, *others]}) == len(others) + 1
    result = made_up(run, 0.5)
    assert OptimizationResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_point_off_the_manifold_solves_nothing():
    result = replace(made_up(STUDY.run(STUDY.centre, PROBLEM, 0.1, 0), 1e-9), orthogonality_errors=(0.0, 1e-2))
    assert result.final_gap == 1e-2
    assert result.cost_to(1e-3, "evaluations") == math.inf
    feasible = replace(result, orthogonality_errors=(0.0, 0.0))
    assert feasible.cost_to(1e-3, "evaluations") == 10
    assert feasible.cost_to(1e-3, "seconds") == 0.5


# --- profiles and ranks ---


def test_profiles_are_those_of_an_example_by_hand():
    costs = {"a": [1.0, 4.0, math.inf, 0.0], "b": [2.0, 2.0, math.inf, 0.0], "c": [math.nan, 8.0, math.inf, math.nan]}
    ratios = performance_ratios(costs)
    assert ratios["a"].tolist() == [1, 2, math.inf, 1]
    assert ratios["b"].tolist() == [2, 1, math.inf, 1]
    assert profile(ratios["a"], np.array([1.0, 1.9, 2.0, 1e9])).tolist() == [0.5, 0.5, 0.75, 0.75]
    # What was not run does not count: c was run on two instances, and is four times slower on the one it solved.
    assert profile(ratios["c"], np.array([3.9, 4.0])).tolist() == [0, 0.5]


def test_ranks_share_ties_and_count_where_a_solver_was_run():
    scores = {"a": {"p": 1.0, "q": 5.0}, "b": {"p": 1.0, "q": math.inf}, "c": {"p": 3.0}}
    assert mean_ranks(scores) == {"a": (1.5 + 1) / 2, "b": (1.5 + 2) / 2, "c": 3.0}


# --- reading ---

TOML = """
kind = "optimizers"
optimizers = ["riemannian-sgd"]
retractions = ["polar"]
seeds = [0]
problems = [{kind = "procrustes", n = 6, p = 2}, {kind = "recovery", row_modes = [2, 3], column_modes = [6]}]

[centre]
metric = "canonical"
"""


def test_studies_are_read_from_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    study = optimizer_study(str(path))
    assert study.name == "mine"
    assert study.problems == (Procrustes(n=6, p=2), Recovery(row_modes=(2, 3), column_modes=(6,)))
    assert study.groups["retractions"] == (Setting(metric="canonical"), Setting(metric="canonical", retraction="polar"))
    assert optimizer_study_of(json.loads(json.dumps(study.to_dict()))) == study
    assert optimizer_study("optimizers") is OPTIMIZER_STUDIES["optimizers"]
    path.write_text('methods = ["dense"]')
    for other in ("digits", str(path), str(tmp_path / "nothing.toml"), "nothing"):
        assert optimizer_study(other) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('["polar"]', '["pola"]', "retraction has no choice 'pola'; did you mean 'polar'"),
        ('["riemannian-sgd"]', '["riemanian-sgd"]', "optimizer has no choice.*did you mean 'riemannian-sgd'"),
        ('["riemannian-sgd"]', '["lbfgs"]', "optimizers must have a learning rate, got 'lbfgs'; list it under methods"),
        ('["riemannian-sgd"]', "[]\nmethods = ['riemannian-sgd']", "methods must be of trust-regions"),
        ("seeds", "sedes", "key of a study of optimizers has no choice 'sedes'; did you mean 'seeds'"),
        ("seeds = [0]", "seeds = [100]", "tuning_seed must not be among the seeds"),
        ("seeds = [0]", "seeds = []", "seeds must have at least one entry"),
        ("seeds = [0]", "trials = 2", "trials must be at least 3"),
        ("seeds = [0]", "learning_rates = [0.1]", "learning_rates must be two at least"),
        ('"procrustes"', '"procrustean"', "kind of problem has no choice.*did you mean 'procrustes'"),
        ("n = 6", "m = 6", "key of the problem 'procrustes' has no choice 'm'"),
        ("n = 6", "n = 1", "n must be at least p"),
        ("{kind", "3, {kind", "problems must be tables"),
        ('metric = "canonical"', 'metric = "canonicle"', "metric has no choice.*did you mean 'canonical'"),
        ('metric = "canonical"', 'metrics = "canonical"', "key of the centre has no choice"),
        ('metric = "canonical"', 'metric = "embedded"', "'embedded' wants the geometry 'grassmann'"),
        ('metric = "canonical"', 'metric = "canonical"\ngeometry = "householder"', "metric must be 'euclidean'"),
        ('metric = "canonical"', 'optimizer = "lbfgs"', "centre must be a Setting whose optimizer has a learning rate"),
    ],
)
def test_what_a_study_cannot_be_is_refused_by_name(tmp_path, old, new, words):
    assert old in TOML
    path = tmp_path / "mine.toml"
    path.write_text(TOML.replace(old, new, 1))
    with pytest.raises((ValueError, TypeError), match=words):
        optimizer_study(str(path))


def test_a_registered_optimizer_is_one_that_studies_know(monkeypatch):
    monkeypatch.setattr("sttp.study.optimization.contestants.OPTIMIZERS", OPTIMIZERS)
    register_optimizer("mine", lambda parameters, rate: RiemannianSGD(parameters, lr=rate))
    try:
        assert replace(STUDY, optimizers=("mine",)).groups["optimizers"][1] == Setting("mine")
        with pytest.raises(ValueError, match="name 'lbfgs' is a method of minimize"):
            register_optimizer("lbfgs", lambda parameters, rate: RiemannianSGD(parameters, lr=rate))
    finally:
        del OPTIMIZERS["mine"]
    with pytest.raises(ValueError, match="no choice 'mine'"):
        replace(STUDY, optimizers=("mine",))
