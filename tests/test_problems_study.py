"""Runs of studies of optimizers, and a whole study from start to report."""

import json
import math
import re

import cloudpickle
import joblib
import pandas as pd
import pytest
import torch
import typer
from smallest_optimizer import NormalizedDescent

from sttp.manifolds import Riemannian
from sttp.study.command_line import OF_ALL_STUDIES, app
from sttp.study.command_line import run as command
from sttp.study.conduct import RunFailedError
from sttp.study.execution import register_executor
from sttp.study.optimization import (
    DigitsTraining,
    OptimizationRun,
    OptimizerStudy,
    Setting,
    register_optimizer,
)
from sttp.study.optimization import conduct as conduct_module
from sttp.study.optimization.conduct import redraw_optimizer_study, run_optimizer_study
from sttp.study.optimization.perform import perform
from sttp.study.optimization.trial import begin
from sttp.study.optimizers import OPTIMIZERS
from sttp.study.problems import LowRankApproximation, Procrustes

pytestmark = pytest.mark.usefixtures("coarse_pictures")

FRAME = Procrustes(n=12, p=3, condition=5.0)
WEIGHT = LowRankApproximation(row_modes=(5,), column_modes=(4,), rank=2)
TINY = OptimizerStudy(
    name="tiny",
    problems=(FRAME, DigitsTraining(rank=2)),
    centre=Setting("landing"),
    methods=("lbfgs",),
    learning_rates=(0.03, 0.3),
    trials=2,
    seeds=(0, 1),
    steps=80,
    training_steps=2,
    looks=4,
    tolerances=(1e-6,),
)
FILES = {
    ".lock",
    "convergence-methods.png",
    "orthogonality.png",
    "profiles-methods.png",
    "report.html",
    "results.csv",
    "runs",
    "study.json",
    "timings.csv",
}


def run_of(optimizer="riemannian-sgd", problem=FRAME, rate=0.1, steps=50, looks=5, **choices):
    return OptimizationRun(problem, Setting(optimizer, **choices), rate, 0, steps, looks)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, made in this process."""
    path = tmp_path_factory.mktemp("optimizers") / "results"
    calls = []
    outcome = run_optimizer_study(TINY, path, "sequential", progress=lambda *call: calls.append(call))
    return path, outcome, calls


# --- runs ---


def test_a_run_goes_down_and_says_what_it_cost():
    result = perform(run_of(), OPTIMIZERS["riemannian-sgd"])
    assert result.steps == result.evaluations == (0, 10, 20, 30, 40, 50)
    assert result.gaps[-1] < 1e-2 * result.gaps[0]
    assert result.orthogonality_error < 1e-13
    assert not result.diverged
    seconds = result.timing.seconds
    assert seconds[0] == 0
    assert list(seconds) == sorted(seconds)
    # The products of a step of RiemannianSGD, whose momentum is transported: the cost of Procrustes has none.
    assert [operations / step for operations, step in zip(result.operations[1:], result.steps[1:], strict=True)] == [
        result.operations[1] / 10
    ] * 5
    assert 4 < result.operations[1] / 10 / (2 * 12 * 3 * 3) < 12


def test_runs_are_repeatable_and_leave_the_generator_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    for run in (run_of("random-submanifold"), run_of("lbfgs", rate=None), run_of(problem=TINY.problems[1], steps=2)):
        build = OPTIMIZERS.get(run.setting.optimizer)
        first, second = (perform(run, build) for _ in range(2))
        assert first.gaps == second.gaps
        assert first.operations == second.operations
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_optimizer_that_draws_numbers_is_repeatable_too():
    class Noisy(torch.optim.SGD):
        def step(self, closure=None):
            for parameter in self.param_groups[0]["params"]:
                parameter.grad.add_(torch.randn(parameter.shape), alpha=0.1)
            return super().step(closure)

    gaps = set()
    for state in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            gaps.add(perform(run_of(), lambda parameters, rate: Noisy(parameters, lr=rate)).gaps)
    assert len(gaps) == 1


def test_the_learning_rate_falls_to_nothing():
    """Steps of a fixed length stop where the rate does: their gaps end far below those at a fixed rate."""
    gaps = perform(run_of("spel", rate=0.3, steps=100), OPTIMIZERS["spel"]).gaps
    assert gaps[-1] < 1e-2 * gaps[3]


@pytest.mark.parametrize("method", ["trust-regions", "lbfgs", "steepest-descent"])
def test_a_method_of_minimize_is_watched_at_every_iterate(method):
    result = perform(run_of(method, rate=None, steps=200), None)
    assert result.gaps[-1] < 1e-12 < result.gaps[0]
    assert result.steps == tuple(range(len(result.steps)))
    for column in (result.evaluations, result.operations, result.timing.seconds):
        assert list(column) == sorted(column)
        assert len(column) == len(result.steps)
    assert result.evaluations[-1] >= result.steps[-1]
    assert result.reason == "gradient tolerance"


@pytest.mark.parametrize("bad", [1, 3, "last"])
@pytest.mark.parametrize("method", ["steepest-descent", "lbfgs"])
def test_a_method_of_minimize_ends_where_a_look_is_not_finite(method, bad, monkeypatch):
    run, kind = run_of(method, rate=None, steps=6), type(begin(FRAME, Setting(method), 0))
    whole, looks, gap = perform(run, None), [], kind.gap
    at = len(whole.gaps) - 1 if bad == "last" else bad

    def failing(self):
        looks.append(None)
        return gap(self) if len(looks) != at + 1 else math.nan

    monkeypatch.setattr(kind, "gap", failing)
    result = perform(run, None)
    assert result.diverged_at == at
    assert len(looks) == at + 1
    assert result.final_gap == math.inf
    for name in ("steps", "evaluations", "operations", "gaps", "orthogonality_errors"):
        assert getattr(result, name) == getattr(whole, name)[:at], name
    assert len(result.timing.seconds) == at
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_run_that_diverges_ends():
    result = perform(run_of("geoopt-adam", problem=WEIGHT, rate=1e300), OPTIMIZERS["geoopt-adam"])
    assert result.diverged
    assert result.final_gap == math.inf
    assert result.cost_to(1e-3, "seconds") == math.inf
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_rate_that_an_optimizer_refuses_is_one_that_diverges():
    result = perform(run_of("spel", rate=3.0), OPTIMIZERS["spel"])
    assert result.diverged_at == 0
    assert result.reason.startswith("refused: lr must be finite and at least 0 and below 1")
    assert result.steps == (0,)
    json.dumps(result.to_dict(), allow_nan=False)


def test_training_starts_from_one_network_in_every_geometry():
    problem = DigitsTraining(rank=2)
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs = [
        problem.network(geometry, seed=3).eval()(images).detach()
        for geometry in (
            Riemannian(),
            Riemannian(metric="canonical"),
            Setting(geometry="householder").manifold_geometry,
        )
    ]
    assert torch.allclose(outputs[0], outputs[1])
    assert torch.allclose(outputs[0], outputs[2], atol=1e-4)


# --- a study ---


def test_a_study_leaves_all_its_files(finished):
    path, outcome, calls = finished
    assert {entry.name for entry in path.iterdir()} == FILES
    assert outcome.finished
    for figure in path.glob("*.png"):
        assert figure.read_bytes().startswith(b"\x89PNG")
    assert calls[0][0] == 0
    assert calls[-1][0] == calls[-1][1] == len(calls) - 1 == len(list(path.glob("runs/*/result.json")))


def test_the_tables_have_a_row_a_run_and_nothing_of_time(finished):
    path, _, _ = finished
    results, timings = pd.read_csv(path / "results.csv"), pd.read_csv(path / "timings.csv")
    assert set(results.run) == set(timings.run) == {entry.name for entry in (path / "runs").iterdir()}
    assert results.run.is_unique
    assert not [name for name in results if "second" in name]
    curves = results[results.chosen].groupby(["problem", "optimizer"]).seed.apply(sorted)
    assert set(map(tuple, curves)) == {(0, 1)}
    assert set(results[~results.chosen].seed) == {TINY.tuning_seed}
    assert (results[results.optimizer == "lbfgs"].gap < 1e-12).all()
    for row in results.itertuples():  # from which "solved" can be told again
        last = json.loads((path / "runs" / row.run / "result.json").read_text())
        assert row.shortfall == max(last["gaps"][-1], last["orthogonality_errors"][-1])
    # Training has no deterministic cost.
    assert not ((results.optimizer == "lbfgs") & results.problem.str.contains("digits")).any()


def test_the_outcome_names_the_better_method(finished):
    _, outcome, _ = finished
    factors = {comparison.factor: comparison for comparison in outcome.comparisons}
    assert set(factors) == {"methods"}
    methods = factors["methods"]
    assert methods.label(methods.ordered[0]) == "lbfgs"
    assert methods.solved(methods.ordered[0]) == (2, 2)
    assert any(
        sentence.startswith("Methods: by the gap at the end") and "lbfgs" in sentence for sentence in outcome.findings
    )
    assert any("landing" in sentence for sentence in outcome.findings if "left the manifold" in sentence)
    json.dumps(outcome.to_dict(), allow_nan=False)


def test_the_report_needs_nothing_else(finished):
    path, outcome, _ = finished
    html = (path / "report.html").read_text()
    assert html.count('src="data:image/png;base64,') == len([name for name in FILES if name.endswith(".png")])
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    for word in (
        "Dolan",
        "mean rank",
        "procrustes 12×3",
        "digits",
        "What was found",
        "landing",
    ):
        assert word in html
    assert "not finished" not in html
    assert len(outcome.findings) > 4


def test_a_finished_study_is_drawn_the_same_and_what_is_lost_is_made_again(finished, monkeypatch):
    path, _, _ = finished
    before = {file.name: file.read_bytes() for file in path.glob("*.*") if file.suffix in (".csv", ".png", ".html")}
    with monkeypatch.context() as patched:
        patched.setattr(conduct_module, "perform_all", lambda *_: pytest.fail("a run was made"))
        assert run_optimizer_study(TINY, path).finished
    assert {name: (path / name).read_bytes() for name in before} == before
    lost = sorted((path / "runs").iterdir())[0]
    (lost / "result.json").unlink()
    assert not redraw_optimizer_study(path).finished
    assert "not finished" in (path / "report.html").read_text()
    made = []
    run_optimizer_study(TINY, path, "sequential", progress=lambda done, expected, run: made.append(run))
    assert [run.identifier for run in made[1:]] == [lost.name]
    assert (path / "results.csv").read_bytes() == before["results.csv"]


def test_what_is_no_folder_of_such_a_study_is_refused_and_kept(finished, tmp_path):
    path, _, _ = finished
    with pytest.raises(ValueError, match=r"holds another study \(its name is tiny, not other\); give another folder"):
        run_optimizer_study(OptimizerStudy(name="other"), path)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="give a new or an empty folder"):
        run_optimizer_study(TINY, tmp_path)
    with pytest.raises(ValueError, match=r"has no study\.json"):
        redraw_optimizer_study(tmp_path)
    for content in ("", "[]", "{}", '{"format": 1, "kind": "optimizers", "study": {"name": 3}}', '{"format": 1}'):
        (tmp_path / "study.json").write_text(content)
        with pytest.raises(ValueError, match=r"study\.json is damaged, of another version or of another kind"):
            redraw_optimizer_study(tmp_path)
        assert (tmp_path / "study.json").read_text() == content


def test_a_damaged_result_is_refused(finished, tmp_path):
    path, _, _ = finished
    name = sorted(entry.name for entry in (path / "runs").iterdir())[0]
    whole = (path / "runs" / name / "result.json").read_text()
    (tmp_path / "study.json").write_bytes((path / "study.json").read_bytes())
    broken = tmp_path / "runs" / name / "result.json"
    broken.parent.mkdir(parents=True)
    foreign = json.loads(whole)
    foreign["run"]["seed"] += 7
    for content in (whole[:50], json.dumps(foreign), json.dumps(json.loads(whole) | {"format": 0}), "3"):
        broken.write_text(content)
        with pytest.raises(ValueError, match=r"result\.json' is damaged.*delete this file"):
            redraw_optimizer_study(tmp_path)


def test_a_users_optimizer_runs_in_a_study_by_its_row(tmp_path):
    register_optimizer("normalized", lambda parameters, rate: NormalizedDescent(parameters, lr=rate))

    class Sent:
        """A backend's stand-in: what a worker process is sent goes through cloudpickle, as joblib sends it."""

        def __init__(self, *_):
            self.config = joblib.parallel_config("sequential")

        def __enter__(self):
            job = (run_of("normalized"), OPTIMIZERS["normalized"])
            copy = cloudpickle.loads(cloudpickle.dumps(job))
            assert perform(*copy).gaps == perform(*job).gaps
            return self.config.__enter__()

        def __exit__(self, *arguments):
            return self.config.__exit__(*arguments)

    register_executor("sent", Sent)
    try:
        study = OptimizerStudy("mine", (FRAME,), optimizers=("normalized",), trials=3, seeds=(0,), steps=60, looks=6)
        outcome = run_optimizer_study(study, tmp_path / "mine", "sent", 1)
        entry = outcome.comparisons[0].find(study.groups["optimizers"][1], FRAME)
        assert entry.gap < 1e-3
    finally:
        del OPTIMIZERS["normalized"]


def test_a_failing_run_is_named(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no such disk")

    monkeypatch.setitem(OPTIMIZERS, "landing", fail)
    study = OptimizerStudy("broken", (FRAME,), optimizers=("landing",), trials=3, seeds=(0,), steps=3)
    with pytest.raises(RunFailedError, match=r"run 'landing on procrustes n 12.*OSError: no such disk.*error\.txt"):
        run_optimizer_study(study, tmp_path, "sequential")
    assert "Traceback" in next(tmp_path.glob("runs/*/error.txt")).read_text()


# --- the command line ---


def test_the_command_runs_and_redraws_a_study(tmp_path, capsys):
    toml = tmp_path / "mine.toml"
    toml.write_text(
        'kind = "optimizers"\nproblems = [{kind = "procrustes", n = 6, p = 2}]\nretractions = ["polar"]\n'
        "trials = 3\nseeds = [0]\nsteps = 20\nlooks = 4\n"
    )
    output = tmp_path / "out"
    arguments = ["study", str(toml), "--output", str(output), "--executor", "sequential"]
    assert command(arguments) == 0
    text = capsys.readouterr().out
    for word in ("Retractions", "mean rank", "polar", "qr", "Report:"):
        assert word in text
    assert command(["plot", str(output), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["finished"]
    assert {choice["choice"] for choice in data["comparisons"][0]["choices"]} == {"qr", "polar"}
    toml.write_text(toml.read_text().replace("polar", "polr"))
    assert command(arguments) == 2
    assert "did you mean 'polar'" in capsys.readouterr().err
    options = typer.main.get_command(app).commands["study"].params
    refused = {option for option in options if option.name not in OF_ALL_STUDIES}
    assert len(refused) == len(options) - 5 > 5
    toml.write_text(toml.read_text().replace("polr", "polar"))
    for option in refused:
        # Also where what is given is what it would be anyway.
        value = [] if option.is_flag else ["1"]
        assert command([*arguments, option.opts[0], *value]) == 2
        assert f"sttp: {option.opts[0]} is for studies of trained networks" in capsys.readouterr().err
    assert command(["study", "optimisers"]) == 2
    assert "did you mean 'optimizers'" in capsys.readouterr().err
