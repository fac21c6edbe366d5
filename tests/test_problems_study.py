"""Runs on problems, and a whole study of optimizers from start to report."""

import itertools
import json
import math
import re

import pandas as pd
import pytest
import torch
from test_problems_definition import study_of

from sttp.manifolds import Riemannian
from sttp.study.engine import redraw, run_study
from sttp.study.loop import perform
from sttp.study.parts import GEOMETRIES, OPTIMIZERS
from sttp.study.problems import CostInstance, DigitsTraining, LowRankApproximation, Procrustes
from sttp.study.problems import trials as trials_module
from sttp.study.problems.comparison import comparisons_of
from sttp.study.problems.findings import findings
from sttp.study.problems.measures import final_gap
from sttp.study.schedule import chosen_runs, pending_runs
from sttp.study.turns import Turn

pytestmark = pytest.mark.usefixtures("coarse_pictures")

FRAME = Procrustes(n=12, p=3, condition=5.0)
WEIGHT = LowRankApproximation(row_modes=(5,), column_modes=(4,), rank=2)
TINY = study_of(
    problems=[FRAME, DigitsTraining(rank=2)],
    centre={"optimizer": "landing"},
    methods=["lbfgs"],
    learning_rates=[0.03, 0.3],
    trials=2,
    seeds=[0, 1],
    steps=80,
    training_steps=2,
    looks=4,
    tolerances=[1e-6],
)


def run_of(optimizer="riemannian-sgd", problem=FRAME, rate=0.1, steps=50, looks=5, **choices):
    """A run of an optimizer, or of a method of minimize where there is no rate."""
    chosen = {"optimizer": optimizer} if rate is not None else {"method": optimizer}
    budget = {"steps": steps, "training_steps": steps, "looks": looks, "training_looks": looks}
    study = study_of(problems=[problem], **chosen, **budget, **choices)
    return study.run(study.cases[0], rate, 0)


def gaps(result):
    return result.series("gap")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, made in this process."""
    path = tmp_path_factory.mktemp("optimizers") / "results"
    calls = []
    outcome = run_study(TINY, path, "sequential", progress=lambda *call: calls.append(call))
    return path, outcome, calls


# --- runs ---


def test_a_run_goes_down_and_says_what_it_cost():
    result = perform(run_of())
    steps = [look.step for look in result.looks]
    assert steps == list(result.series("evaluations")) == [0, 10, 20, 30, 40, 50]
    assert gaps(result)[-1] < 1e-2 * gaps(result)[0]
    assert result.largest("orthogonality_error") < 1e-13
    assert not result.diverged
    assert result.look_seconds[0] == 0
    assert list(result.look_seconds) == sorted(result.look_seconds)
    # The products of a step of RiemannianSGD, whose momentum is transported: the cost of Procrustes has none.
    operations = result.series("operations")
    assert [count / step for count, step in zip(operations[1:], steps[1:], strict=True)] == [operations[1] / 10] * 5
    assert 4 < operations[1] / 10 / (2 * 12 * 3 * 3) < 12


def test_runs_are_repeatable_and_leave_the_generator_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    training = run_of(problem=DigitsTraining(rank=2), steps=2)
    for run in (run_of("random-submanifold"), run_of("lbfgs", rate=None), training):
        first, second = (perform(run) for _ in range(2))
        assert first.looks == second.looks
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_optimizer_that_draws_numbers_is_repeatable_too():
    class Noisy(torch.optim.SGD):
        def step(self, closure=None):
            for parameter in self.param_groups[0]["params"]:
                parameter.grad.add_(torch.randn(parameter.shape), alpha=0.1)
            return super().step(closure)

    OPTIMIZERS.add("noisy", Noisy)
    found = set()
    for state in range(2):
        torch.manual_seed(state)
        found.add(gaps(perform(run_of("noisy"))))
    assert len(found) == 1


def test_the_learning_rate_falls_to_nothing():
    """Steps of a fixed length stop where the rate does: their gaps end far below those at a fixed rate."""
    found = gaps(perform(run_of("spel", rate=0.3, steps=100)))
    assert found[-1] < 1e-2 * found[3]


@pytest.mark.parametrize("method", ["trust-regions", "lbfgs", "steepest-descent"])
def test_a_method_of_minimize_is_watched_at_every_iterate(method):
    result = perform(run_of(method, rate=None, steps=200))
    assert gaps(result)[-1] < 1e-12 < gaps(result)[0]
    steps = [look.step for look in result.looks]
    assert steps == list(range(len(steps)))
    for column in (result.series("evaluations"), result.series("operations"), result.look_seconds):
        assert list(column) == sorted(column)
        assert len(column) == len(steps)
    assert result.series("evaluations")[-1] >= steps[-1]
    assert result.reason == "gradient tolerance"
    assert "iterations" in perform(run_of(method, rate=None, steps=1)).reason


@pytest.mark.parametrize("bad", [1, "last"])
def test_a_method_of_minimize_ends_where_a_look_is_not_finite(bad, monkeypatch):
    run = run_of("lbfgs", rate=None, steps=6)
    whole, looks, gap = perform(run), [], CostInstance.gap
    at = len(whole.looks) - 1 if bad == "last" else bad

    def failing(self):
        looks.append(None)
        return gap(self) if len(looks) != at + 2 else math.nan  # the loop looks once before the method does

    monkeypatch.setattr(CostInstance, "gap", failing)
    result = perform(run)
    assert result.diverged_at == at
    assert final_gap(result) == math.inf
    assert result.looks == whole.looks[:at]
    assert result.reason is not None
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("values", "at", "reason"),
    [
        ({"optimizer": "geoopt-adam", "problem": WEIGHT, "rate": 1e300}, None, ""),
        ({"optimizer": "spel", "rate": 3.0}, 0, "refused: lr must be"),
    ],
)
def test_a_run_that_diverges_or_whose_rate_is_refused_ends(values, at, reason):
    result = perform(run_of(**values))
    assert result.diverged
    assert final_gap(result) == math.inf
    assert at is None or result.diverged_at == at
    assert (result.reason or "").startswith(reason)
    json.dumps(result.to_dict(), allow_nan=False)


def test_training_starts_from_one_network_in_every_geometry():
    problem = DigitsTraining(rank=2)
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs = [
        problem.network(geometry, seed=3).eval()(images).detach()
        for geometry in (Riemannian(), Riemannian(metric="canonical"), GEOMETRIES["householder"])
    ]
    assert torch.allclose(outputs[0], outputs[1])
    assert torch.allclose(outputs[0], outputs[2], atol=1e-4)


# --- a study ---


def test_a_study_leaves_all_its_files(finished):
    path, outcome, calls = finished
    pictures = {"convergence-methods", "profiles-methods", "orthogonality"}
    files = {f"{name}.{ending}" for name in pictures for ending in ("png", "svg")}
    assert files | {"report.html", "results.csv", "timings.csv", "study.json", "runs"} <= {
        entry.name for entry in path.iterdir()
    }
    assert outcome.finished
    assert calls[0][0] == 0
    assert calls[-1][0] == calls[-1][1] == len(calls) - 1 == len(list(path.glob("runs/*/result.json")))


def test_the_tables_have_a_row_a_run_and_nothing_of_time(finished):
    path, _, _ = finished
    results, timings = pd.read_csv(path / "results.csv"), pd.read_csv(path / "timings.csv")
    assert set(results.run) == set(timings.run) == {entry.name for entry in (path / "runs").iterdir()}
    assert results.run.is_unique
    assert not [name for name in results if "second" in name]
    cases = results[results.chosen].groupby(["problem", "optimizer"]).seed.apply(sorted)
    assert set(map(tuple, cases)) == {(0, 1)}
    assert set(results[~results.chosen].seed) == {TINY.tuning_seed}
    assert (results[results.optimizer == "lbfgs"].gap < 1e-12).all()
    for row in results.itertuples():  # from which "solved" can be told again
        last = json.loads((path / "runs" / row.run / "result.json").read_text())["looks"][-1]["measures"]
        assert row.shortfall == max(last["gap"], last["orthogonality_error"])
    # Training has no deterministic cost.
    assert not ((results.optimizer == "lbfgs") & results.problem.str.contains("digits")).any()


def test_the_outcome_names_the_better_method(finished):
    _, outcome, _ = finished
    (methods,) = outcome.content.values["comparisons"]
    assert (methods["factor"], methods["choices"][0]["choice"]) == ("methods", "lbfgs")
    assert (methods["choices"][0]["solved"], methods["choices"][0]["runs"]) == (2, 2)
    assert any("lbfgs" in sentence for sentence in outcome.findings if sentence.startswith("Methods"))
    assert any("landing" in sentence for sentence in outcome.findings if "left the manifold" in sentence)
    table = outcome.table  # a row a case
    assert list(table.optimizer) == [case.optimizer for case in TINY.cases] == ["landing", "lbfgs", "landing"]
    assert (table.gap_low <= table.gap * (1 + 1e-9)).all()
    assert (table.gap <= table.gap_high * (1 + 1e-9)).all()


def test_the_report_shows_every_table_and_figure(finished):
    path, outcome, _ = finished
    html = (path / "report.html").read_text()
    assert html.count('src="data:image/png;base64,') == len(outcome.content.pictures)
    for word in ("Dolan", "mean rank", "procrustes 12×3", "digits", "landing", *outcome.findings):
        assert word in html
    (table,) = outcome.content.tables
    assert all(re.fullmatch("[0-9a-f]{16}", run) for runs in table.links for run in runs)
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_finished_study_is_drawn_the_same_and_what_is_lost_is_made_again(finished):
    path, _, _ = finished
    before = {file.name: file.read_bytes() for file in path.glob("*.*") if file.suffix in (".csv", ".png", ".svg")}
    assert redraw(path).finished
    assert {name: (path / name).read_bytes() for name in before} == before
    lost = sorted((path / "runs").iterdir())[0]
    (lost / "result.json").unlink()
    made = []
    run_study(TINY, path, "sequential", progress=lambda done, expected, run: made.append(run))
    assert [run.identifier for run in made[1:]] == [lost.name]
    assert (path / "results.csv").read_bytes() == before["results.csv"]


def results_of(study):
    """The results of all runs of a study."""
    results = {}
    while runs := pending_runs(study, results):
        results |= {run: perform(run) for run in runs}
    return results


FEW = {"learning_rates": [0.1, 0.3], "trials": 2, "seeds": [0], "steps": 3, "looks": 1}


def test_a_factor_of_combinations_has_a_table():
    parts = {"optimizers": ["riemannian-sgd", "landing"], "retractions": ["qr", "polar"]}
    study = study_of(problems=[FRAME], design="grid", **parts, **FEW)
    content = study.of.content(study, results_of(study), study.of.presentation(study), ())
    (table,) = content.tables
    assert {row[0] for row in table.rows} == {", ".join(pair) for pair in itertools.product(*parts.values())}


# --- speed ---


@pytest.mark.parametrize(
    ("times", "is_clear"), [((2.0, 2.2, 2.4), True), ((0.8, 1.0, 1.3), False), ((1.02, 1.03, 1.04), False)]
)
def test_speed_is_a_finding_where_intervals_are_clear_alone(times, is_clear):
    study = study_of(problems=[FRAME], retractions=["polar"], **FEW)
    results = results_of(study)
    presentation = study.of.presentation(study)

    def told(turns):
        return [s for s in findings(comparisons_of(study, results, presentation, turns)) if "in turns" in s]

    centre, polar = (chosen_runs(study, case, results)[0] for case in study.cases)
    turns = (Turn(centre.identifier, (1.0,) * 9, 0.1), Turn(polar.identifier, times * 3, 0.1))
    assert bool(told(turns)) == is_clear
    assert not told(())
    # Costs in seconds are those of steps in turns, too.
    (comparison,) = comparisons_of(study, results, presentation, turns)
    steps, seconds = (comparison.costs(10.0, measure)[comparison.choices[1]] for measure in ("evaluations", "seconds"))
    assert seconds == [step * times[1] for step in steps]


def test_operations_are_counted_without_the_run(monkeypatch):
    """A gradient that is not finite on the way of counting leaves the run to say so."""
    calls = []
    step = trials_module._make_step

    def failing(instance, optimizer):
        calls.append(None)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("no")
        return step(instance, optimizer)

    monkeypatch.setattr(trials_module, "_make_step", failing)
    result = perform(run_of(steps=4, looks=1))
    assert result.steps == 4
