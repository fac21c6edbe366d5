"""Problems and parts from outside the package in studies of optimizers."""

import json
import math
import sys
from dataclasses import dataclass

import geoopt
import pytest
import torch
from smallest_optimizer import NormalizedDescent
from test_problems_definition import study_of

from sttp.manifolds import Retraction, qr_positive, register_retraction
from sttp.study import compare
from sttp.study.definition import Study
from sttp.study.engine import redraw, run_study
from sttp.study.loop import perform
from sttp.study.parts import OPTIMIZERS
from sttp.study.problems import PROBLEMS, CostInstance, CostProblem, PointVariable, Problem

pytestmark = pytest.mark.usefixtures("blank_pictures")

TARGET = torch.linspace(1, 2, 6).double()
FEW = {"learning_rates": [0.1, 0.3], "trials": 2, "seeds": [0], "steps": 20, "looks": 4}


def squared_distance(point):
    return (point - TARGET).square().sum()


def nearest(**values):
    """The point of a sphere that is nearest to another one."""
    optimum = float((TARGET.norm() - 1) ** 2)
    return CostProblem("nearest", squared_distance, (6,), manifold=geoopt.Sphere(), optimum=optimum, **values)


@dataclass(frozen=True)
class Rayleigh(Problem):
    """A class of problems, as the documentation has it."""

    kind = "rayleigh"
    summary = "minimize xᵀAx over unit vectors x"
    has_geometry = False
    n: int = 4

    def begin(self, geometry, seed):
        matrix = torch.diag(torch.arange(1.0, self.n + 1).double())
        return CostInstance(PointVariable(geoopt.Sphere(), (self.n,)), lambda x: x @ matrix @ x, optimum=1.0)


@register_retraction
@dataclass(frozen=True)
class Twice(Retraction):
    """A retraction by name."""

    def retract(self, manifold, point, tangent_vector):
        return qr_positive(point + tangent_vector)[0]


def solved(study):
    """The gaps at which the runs of all cases end, made with a rate of 0.3 and the first seed."""
    runs = [study.run(case, 0.3 if case.needs_rate else None, 0) for case in study.cases]
    return [perform(run).last("gap") for run in runs]


def test_a_cost_and_a_manifold_are_a_problem():
    study = study_of(
        problems=[nearest()],
        optimizers=["geoopt-adam"],
        methods=["lbfgs"],
        retractions=["polar"],  # of which points of other manifolds have none
        **{**FEW, "steps": 200},
    )
    assert [case.problem_name for case in study.cases] == ["nearest"] * 3
    assert all(gap < 1e-6 for gap in solved(study))
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study


def test_a_cost_over_frames_is_one_in_every_geometry():
    target = torch.eye(5, 2).double()
    problem = CostProblem("frame", lambda x: (x - target).square().sum(), (5, 2), optimum=0.0)
    study = study_of(problems=[problem], geometries=["householder", "grassmann"], retractions=["polar"], **FEW)
    assert {(case.geometry, case.retraction) for case in study.cases} == {
        ("stiefel", "qr"),
        ("stiefel", "polar"),
        ("householder", "qr"),
    }
    starts = [perform(study.run(case, 0.3, 0)).looks[0].measures["gap"] for case in study.cases]
    assert max(starts) - min(starts) < 1e-12
    spanned = CostProblem("span", lambda x: -(x.mT[:, :2] @ x[:2]).trace(), (5, 2), optimum=-2.0, only_span=True)
    assert len(study_of(problems=[spanned], geometries=["householder", "grassmann"], **FEW).cases) == 3


def test_starts_are_equal_for_equal_seeds_and_may_be_given():
    def start_of(problem, seed):
        (case,) = study_of(problems=[problem], **FEW).cases
        return perform(study_of(problems=[problem], **FEW).run(case, 0.1, seed)).looks[0].measures["gap"]

    assert start_of(nearest(), 1) == start_of(nearest(), 1) != start_of(nearest(), 2)
    at = torch.eye(6)[0].double()
    given = CostProblem("given", squared_distance, manifold=geoopt.Sphere(), start=lambda seed: at, optimum=0.0)
    assert start_of(given, 0) == float(squared_distance(at))


def test_a_cost_without_an_optimum_must_not_be_negative():
    problem = CostProblem("loss", lambda x: x.square().sum() + 1, (4,), manifold=geoopt.Euclidean(ndim=1))
    study = study_of(problems=[problem], **FEW)
    assert 1 <= solved(study)[0] < 2
    assert not study.of.presentation(study)["problems"][study.cases[0].problem_json]["is_known"]
    negative = CostProblem("negative", lambda x: -x.square().sum() - 1, (4,), manifold=geoopt.Sphere())
    with pytest.raises(ValueError, match="optimum must be given for a cost that is negative, got -2"):
        solved(study_of(problems=[negative], **FEW))


@pytest.mark.parametrize(
    ("cost", "optimizer", "words"),
    [
        (lambda x: x.square(), "riemannian-sgd", "problem 'tried' cannot be begun"),
        (lambda x: x.detach().square().sum(), "riemannian-sgd", "one finite number with a gradient"),
        (lambda x: float(x.detach().square().sum()), "riemannian-sgd", "must be a tensor of one finite number"),
        (lambda x: -x.square().sum(), "riemannian-sgd", "optimum must be given"),
        (lambda x: x.square().sum(), lambda parameters, rate: None, "must return a torch.optim.Optimizer, got None"),
    ],
)
def test_what_cannot_make_a_step_is_refused_before_the_first_run(tmp_path, cost, optimizer, words):
    values = {"optimizers": [optimizer], "steps": 4, "seeds": [0], "executor": "sequential", "progress": False}
    with pytest.raises(ValueError, match=words):
        compare(problems=[CostProblem("tried", cost, shape=(5, 2))], output=tmp_path / "new", **values)
    assert not (tmp_path / "new").exists()


def test_a_class_of_problems_is_known_by_its_name_or_where_it_is():
    PROBLEMS.add("rayleigh", Rayleigh)
    by_name = study_of(problems=[{"kind": "rayleigh", "n": 3}], optimizers=["riemannian-sgd"], **FEW)
    assert by_name.cases == study_of(problems=[Rayleigh(n=3)], optimizers=["riemannian-sgd"], **FEW).cases
    assert all(gap < 1e-2 for gap in solved(by_name))
    imported = study_of(problems=[{"kind": "test_problems_own:Rayleigh", "n": 3}, "test_problems_own:SPHERE"], **FEW)
    assert [case.problem_name for case in imported.cases] == ["rayleigh n 3", "sphere"]
    PROBLEMS.add("made", lambda size: Rayleigh(n=size))
    assert study_of(problems=[{"kind": "made", "size": 5}], **FEW).cases[0].problem == Rayleigh(n=5)


def test_retractions_that_manifolds_know_are_known_to_studies():
    study = study_of(retractions=["Twice"], **FEW)
    assert type(study.cases[1].manifold_geometry.retraction).__name__ == "Twice"
    assert solved(study)[0] == pytest.approx(solved(study)[1])


SPHERE = CostProblem("sphere", squared_distance, (6,), manifold=geoopt.Sphere(), optimum=0.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CostProblem(3, squared_distance, (6, 2)), "name must be a word"),
        (lambda: CostProblem("x", 3, (6, 2)), "cost must be a function of a tensor"),
        (lambda: CostProblem("x", squared_distance), "shape must be given where there is no start"),
        (lambda: CostProblem("x", squared_distance, (2, 6)), r"shape must be \(n, p\) with n >= p of a frame"),
        (lambda: CostProblem("x", squared_distance, (6,), manifold="sphere"), r"manifold must be a geoopt\.Manifold"),
        (lambda: CostProblem("x", squared_distance, (6, 2), optimum=math.nan), "optimum must be finite"),
        (lambda: CostProblem("x", squared_distance, (6, 2), scale=0), "scale must be finite and above 0"),
        (lambda: study_of(problems=[{"kind": "test_problems_own:SPHERE", "n": 3}]), "has no choice 'n'"),
        (lambda: study_of(problems=["test_problems_own:TARGET"]), "it must be a Problem"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


# --- folders ---

MINE = """
import geoopt
from sttp.study.problems import CostProblem

mine = CostProblem("mine", lambda x: (x - 1).square().sum(), (4,), manifold=geoopt.Sphere(), optimum=1.0)
"""


def test_the_folder_of_a_problem_of_one_s_own_is_drawn_without_its_code(tmp_path, monkeypatch):
    (tmp_path / "own_problem_module.py").write_text(MINE)
    with monkeypatch.context() as patched:
        patched.syspath_prepend(tmp_path)
        run_study(
            study_of(problems=["own_problem_module:mine"], methods=["lbfgs"], **FEW), tmp_path / "out", "sequential"
        )
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.*") if path.suffix in (".csv", ".html")
    }
    for name in before:
        (tmp_path / "out" / name).unlink()
    monkeypatch.delitem(sys.modules, "own_problem_module")
    monkeypatch.setattr(PROBLEMS, "_imported", {})
    assert redraw(tmp_path / "out").finished
    assert "own_problem_module" not in sys.modules
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before


def test_what_a_notebook_makes_goes_to_worker_processes(tmp_path):
    goal = torch.ones(3).double()
    local = CostProblem("local", lambda x: (x - goal).square().sum(), (3,), manifold=geoopt.Sphere(), optimum=0.0)
    OPTIMIZERS.add("normalized", lambda parameters, rate: NormalizedDescent(parameters, lr=rate))
    study = study_of(problems=[local], optimizers=["normalized"], **{**FEW, "steps": 4})
    outcome = run_study(study, tmp_path / "out", workers=1)
    assert outcome.finished
    assert "normalized" in set(outcome.table.optimizer)
