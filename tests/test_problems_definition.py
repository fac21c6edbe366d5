"""Studies of optimizers: what is compared, what is refused, and how results are measured."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import sttp.optim
from sttp.manifolds import QR, Embedded, Householder, Polar, Riemannian, Transport
from sttp.optim import RiemannianSGD, SteepestDescent
from sttp.study.definition import STUDIES, Study, read_study
from sttp.study.kind import read_run
from sttp.study.parts import MINIMIZERS, OPTIMIZERS, build_optimizer
from sttp.study.problems import PROBLEMS, DigitsTraining, Procrustes, Recovery
from sttp.study.problems.measures import cost_to, diverged_in, final_gap, mean_ranks, performance_ratios, profile, spent
from sttp.study.result import Look, Result, Timing
from sttp.study.schedule import chosen_runs, expected_total, pending_runs
from sttp.study.surroundings import Surroundings


def study_of(**values):
    """A study of optimizers; by default of a small problem."""
    problems = [{"kind": "procrustes", "n": 6, "p": 2}]
    return Study.from_dict({"kind": "optimizers", "name": "tiny", "problems": problems, **values})


STUDY = study_of(
    problems=[Procrustes(n=6, p=2), DigitsTraining()],
    optimizers=["riemannian-sgd"],
    methods=["lbfgs"],
    trials=6,
    seeds=[0, 1],
)


def made_up(run, gap, error=0.0):
    """A result that ends with a gap, or that diverged where it is infinite."""
    gaps, diverged = ((1.0, gap), None) if math.isfinite(gap) else ((1.0,), 7)
    looks = []
    for step, value in zip((0, 10), gaps, strict=False):
        counts = {"evaluations": step, "operations": step}
        looks.append(Look(step, {"gap": value, "orthogonality_error": error if step else 0.0, **counts}))
    timing = Timing((0.05,) * 10, 0.5, 0, 0, 1)
    return Result(run, diverged, None, {}, (1.0,) * 10, tuple(looks), {}, timing, {"torch": "0"})


# --- what is compared ---


def test_one_factor_is_changed_at_a_time():
    study = STUDIES["optimizers"]
    names = {case.optimizer for case in study.cases if not case.minimizes}
    built = {type(build_optimizer(name, [nn.Parameter(torch.ones(2))], 0.1)) for name in names}
    exported = {kind for kind in vars(sttp.optim).values() if isinstance(kind, type) and issubclass(kind, Optimizer)}
    assert built >= exported - {sttp.optim.RiemannianOptimizer, sttp.optim.FrameOptimizer}
    assert {case.optimizer for case in study.cases if case.minimizes} == set(MINIMIZERS)
    centre = study.cases[0]
    changed = set()
    for case in study.cases:
        differing = {
            name
            for name in ("optimizer", "retraction", "metric", "geometry")
            if getattr(case, name) != getattr(centre, name)
        }
        assert len(differing) < 2 or (differing == {"metric", "geometry"} and case.metric == "embedded")
        changed |= differing
    assert changed == {"optimizer", "retraction", "metric", "geometry"}
    kinds = {kind: {c for c in study.cases if isinstance(c.problem, kind)} for kind in (Procrustes, DigitsTraining)}
    assert {case.geometry for case in kinds[Procrustes]} == {"stiefel", "householder"}
    assert not any(case.minimizes for case in kinds[DigitsTraining])
    embedded = {case.problem.kind for case in study.cases if case.metric == "embedded"}
    assert embedded == {"low-rank-approximation", "recovery", "completion", "digits"}


def test_the_names_of_a_case_are_a_geometry():
    def geometry(**values):
        (case,) = study_of(problems=[Recovery()], **values).cases
        return case.manifold_geometry

    assert geometry() == Riemannian()
    assert geometry(metric="canonical", retraction="polar", geometry="grassmann") == Riemannian(
        False, "canonical", Polar()
    )
    assert geometry(geometry="householder-reduced") == Householder()
    assert geometry(metric="embedded", **{"metric.damping": 0.5}) == Riemannian(False, Embedded(0.5), QR())


def test_the_runs_of_a_study_are_as_many_as_foretold():
    results = {}
    while runs := pending_runs(STUDY, results):
        results |= {run: made_up(run, 1e-3) for run in runs}
    # On Procrustes three settings, one of them without a rate; on digits the two with one.
    assert len(results) == expected_total(STUDY, {}) == 4 * (6 + 2) + 2
    for case in STUDY.cases:
        runs = chosen_runs(STUDY, case, results)
        assert [run.seed for run in runs] == [0, 1]
        assert (runs[0].learning_rate is None) == (case.optimizer == "lbfgs")
        assert case.steps == STUDY.shared["steps" if case.problem.is_deterministic else "training_steps"]


def test_equal_runs_have_equal_names_and_others_do_not():
    case = STUDY.cases[0]
    run = STUDY.run(case, 0.1, 0)
    copy = read_run(json.loads(json.dumps(run.to_dict())))
    assert (copy, copy.identifier) == (run, run.identifier)
    others = [study_of(**values).cases[0] for values in ({"steps": 9}, {"looks": 9}, {"retraction": "polar"})]
    others.append(study_of(problems=[Procrustes(n=6, p=2, seed=1)]).cases[0])
    others.append(study_of(optimizer="riemannian-sgd", **{"optimizer.momentum": 0.5}).cases[0])
    runs = [run, replace(run, learning_rate=0.2), replace(run, seed=1), *(replace(run, case=case) for case in others)]
    assert len({run.identifier for run in runs}) == len(runs)


def test_problems_in_short_and_in_full_are_equal():
    defaults = [{"kind": "procrustes"}, "procrustes", Procrustes(), {"kind": "procrustes", "n": Procrustes().n}]
    assert len({study_of(problems=[problem]).cases[0] for problem in defaults}) == 1


# --- options of parts ---


def test_options_go_to_the_parts_that_have_them():
    study = study_of(
        optimizer="riemannian-sgd",
        optimizers=["riemannian-adam"],
        methods=["lbfgs"],
        **{"factors": {"optimizer.momentum": [0.0, 0.5], "method.memory": [3, 4]}},
    )
    options = {(case.optimizer, case.options) for case in study.cases}
    assert options == {
        ("riemannian-sgd", (("optimizer.momentum", 0.0),)),
        ("riemannian-sgd", (("optimizer.momentum", 0.5),)),
        ("riemannian-adam", ()),
        ("lbfgs", (("method.memory", 3),)),
    }
    with pytest.raises(ValueError, match=r"'optimizer.momentun': no optimizer of the study has an option 'momentun'"):
        study.of.require(study_of(**{"optimizer.momentun": 0.5}), Surroundings())


def test_parts_may_be_given_as_objects():
    study = study_of(
        optimizers=[RiemannianSGD],
        methods=[SteepestDescent()],
        retractions=[Polar(transport=Transport.DIFFERENTIAL)],
        geometries=[Householder(redundant=True)],
    )
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))).cases == study.cases
    retractions = {case.manifold_geometry.retraction for case in study.cases if case.geometry == "stiefel"}
    assert retractions == {QR(), Polar(transport=Transport.DIFFERENTIAL)}
    assert [case.geometry for case in study.cases if case.geometry != "stiefel"] == ["householder"]


def test_what_needs_a_rate_does_not_depend_on_what_is_registered():
    case = next(case for case in STUDY.cases if case.minimizes)
    unknown = case.from_dict({**case.to_dict(), "optimizer": "somebody's", "problem": {"kind": "somebody's"}})
    assert not unknown.needs_rate
    assert STUDY.run(unknown, None, 0).identifier != STUDY.run(case, None, 0).identifier


# --- measures ---


def test_a_point_off_the_manifold_solves_nothing():
    run = STUDY.run(STUDY.cases[0], 0.1, 0)
    result = made_up(run, 1e-9, error=1e-2)
    assert final_gap(result) == 1e-2
    assert cost_to(result, 1e-3, spent(result, "evaluations")) == math.inf
    feasible = made_up(run, 1e-9)
    assert cost_to(feasible, 1e-3, spent(feasible, "evaluations")) == 10
    assert cost_to(feasible, 1e-3, spent(feasible, "seconds")) == pytest.approx(0.5)


def test_diverged_runs_are_never_chosen_and_equal_gaps_go_to_the_faster():
    runs = [STUDY.run(STUDY.cases[0], rate, STUDY.tuning_seed) for rate in (0.003, 0.03, 0.3)]
    order = STUDY.of.order
    bad, slow, fast = made_up(runs[0], math.inf), made_up(runs[1], 1e-14), made_up(runs[2], 1e-13)
    early = replace(fast.looks[0], measures={**fast.looks[0].measures, "gap": 1e-3})
    fast = replace(fast, looks=(early, fast.looks[1]))  # both are solved
    assert order(bad) < order(slow) < order(fast)


@pytest.mark.parametrize(
    ("at", "reason", "counted"),
    [
        (None, None, None),
        (13, None, 14),  # the loss of the fourteenth step
        (10, None, 11),  # which was looked at before, and well
        (20, None, 20),  # a look after the last
        (0, "refused: too long", 0),
    ],
)
def test_the_step_that_diverged_is_counted_from_one(at, reason, counted):
    run = STUDY.run(replace(STUDY.cases[0], steps=20, looks=2), 0.1, 0)
    assert diverged_in(replace(made_up(run, 0.5), diverged_at=at, reason=reason)) == counted


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
    study = read_study(path)
    assert study.name == "mine"
    problems = {case.problem for case in study.cases}
    assert problems == {Procrustes(n=6, p=2), Recovery(row_modes=(2, 3), column_modes=(6,))}
    assert {(case.metric, case.retraction) for case in study.cases} == {("canonical", "qr"), ("canonical", "polar")}
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    assert Study.from_dict(STUDIES["optimizers"].to_dict()) == STUDIES["optimizers"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('["polar"]', '["pola"]', "retraction has no choice 'pola'; did you mean 'polar'"),
        ('["riemannian-sgd"]', '["riemanian-sgd"]', "optimizer has no choice.*did you mean 'riemannian-sgd'"),
        ('["riemannian-sgd"]', '["lbfgs"]', "optimizers must have a learning rate, got 'lbfgs'; list it under methods"),
        ("seeds = [0]", "seeds = [100]", "tuning_seed must not be among the seeds"),
        ("seeds = [0]", "steps = 0", "steps must be at least 1"),
        ("seeds = [0]", "tolerances = [0]", "tolerances must be finite and above 0"),
        ("n = 6", "m = 6", "key of the problem 'procrustes' has no choice 'm'"),
        ("{kind", "3, {kind", "problems must be tables"),
        ('metric = "canonical"', 'metric = "canonicle"', "metric has no choice.*did you mean 'canonical'"),
        ('metric = "canonical"', 'metrics = "canonical"', "key of the centre has no choice"),
        ('metric = "canonical"', 'metric = "canonical"\ngeometry = "householder"', "metric must be 'euclidean'"),
    ],
)
def test_what_a_study_cannot_be_is_refused_by_name(tmp_path, old, new, words):
    assert old in TOML
    path = tmp_path / "mine.toml"
    path.write_text(TOML.replace(old, new, 1))
    with pytest.raises((ValueError, TypeError), match=words):
        read_study(path)


def test_what_makes_no_problem_is_refused():
    @dataclass(frozen=True)
    class Other:
        n: int = 3

    with pytest.raises(TypeError, match="problem 'three': it must be a Problem"):
        PROBLEMS.add("three", 3)
    PROBLEMS.add("other", Other)
    with pytest.raises(TypeError, match="problem 'other' must make an object of a subclass of Problem"):
        study_of(problems=["other"])


def test_a_registered_optimizer_is_one_that_studies_know():
    with pytest.raises(ValueError, match="no choice 'mine'"):
        study_of(optimizers=["mine"])
    OPTIMIZERS.add("mine", lambda parameters, rate: RiemannianSGD(parameters, lr=rate), title="My own")
    study = study_of(optimizers=["mine"])
    assert [case.optimizer for case in study.cases] == ["riemannian-adam", "mine"]
    assert study.of.presentation(study)["titles"]["mine"] == "My own"
