"""A user's own network, data and methods, from Python and from files."""

import math
import random
import sys

import numpy as np
import pytest
import torch
from studies import deterministic, interrupted, study_of
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from sttp.study import (
    METHODS,
    NETWORKS,
    OPTIMIZERS,
    TASKS,
    Method,
    NetworkEntry,
    Surroundings,
    Training,
    compare,
    read_study,
)
from sttp.study.engine import redraw, run_study
from sttp.study.loop import perform

pytestmark = pytest.mark.usefixtures("blank_pictures")

FEW = {"ranks": [2], "steps": 4, "batch_size": 8, "evaluations": 2, "learning_rates": [0.03], "seeds": [0]}


class Net(nn.Module):
    """Two linear layers."""

    def __init__(self, width=12, outputs=3):
        super().__init__()
        self.first, self.second = nn.Linear(8, width), nn.Linear(width, outputs)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Points(Dataset):
    """Points in three classes, by their largest of three coordinates."""

    def __init__(self, count=120):
        self.inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(0))
        self.reads = 0

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        self.reads += 1
        return self.inputs[index], self.inputs[index, :3].argmax()


class Noisy(Points):
    """Points that are read with noise."""

    def __getitem__(self, index):
        inputs, target = super().__getitem__(index)
        return inputs + 0.1 * torch.randn(8) + 0.1 * float(np.random.randn()), target  # noqa: NPY002 as users do


class LowRank(nn.Module):
    """A frozen weight and a change of low rank."""

    def __init__(self, layer, rank):
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.weight.detach(), requires_grad=False), layer.bias
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        self.down = nn.Parameter(torch.randn(rank, layer.in_features))

    def forward(self, x):
        return nn.functional.linear(x, self.weight + self.up @ self.down, self.bias)


def low_rank(network, rank):
    """Give both layers changes of low rank."""
    network.first, network.second = LowRank(network.first, rank), LowRank(network.second, rank)
    return network


def begun(method, seed=0, network=Net, rank=2, **values):
    """The trial of a method on points."""
    task = Training(network=network, train=Points())
    study = study_of(method, task=task, **{**FEW, "ranks": [rank], **values})
    run = study.run(study.cases[0], 0.03, seed)
    return run.case.begin(run, Surroundings())


@pytest.fixture(autouse=True)
def registers():
    """Leave the registers as they were."""
    tables = [register._entries for register in (METHODS, NETWORKS, OPTIMIZERS, TASKS)]
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


# --- what a method is given ---


def test_a_method_with_a_rank_starts_from_the_weights_of_ours_and_one_without_from_torchs():
    seen = {}

    def ranked(network, rank):
        seen[rank] = network.first.weight.detach().clone(), type(network.first)
        return network

    def unranked(network):
        seen[None] = network.first.weight.detach().clone(), type(network.first)
        return network

    begun(Method("ranked", build=ranked))
    begun(Method("unranked", build=unranked))
    ours = begun("sttp stiefel").network.first.spectral.matrix()
    assert torch.allclose(seen[2][0], ours, atol=1e-6)
    assert torch.equal(seen[None][0], begun("dense").network.first.weight)
    assert {kind for _, kind in seen.values()} == {nn.Linear}


def test_each_seed_is_another_start_and_draws_are_the_seeds():
    drawing = Method("drawing", build=lambda network, rank: low_rank(network, rank))
    one, same, other = (begun(drawing, seed=seed).network.first for seed in (0, 0, 1))
    assert torch.equal(one.down, same.down)
    assert not torch.equal(one.down, other.down)
    assert not torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(("method", "trained"), [("dense", 12 * 8 + 3 * 12), ("sn", 12 * 8 + 3 * 12)])
def test_plain_weights_count_their_entries(method, trained):
    assert begun(method).facts() == {"z": 100.0, "degrees_of_freedom": trained, "start_error": None}


def test_what_is_trained_in_place_of_weights_is_counted_and_what_is_frozen_is_not():
    found = begun(Method("low rank", build=low_rank)).facts()
    trained = 2 * (12 + 8) + 2 * (3 + 12)
    assert found["degrees_of_freedom"] == trained
    assert found["z"] == pytest.approx(100 * (trained + 15) / (12 * 8 + 3 * 12 + 15))
    assert found["start_error"] == 0  # its weights are still those that it was given


def test_the_start_error_of_a_method_is_seen():
    def doubled(network, rank):
        network.first.weight.data *= 2
        return network

    assert begun(Method("doubled", build=doubled)).facts()["start_error"] == pytest.approx(1)


def test_options_are_factors_and_reach_network_method_and_optimizer():
    def scaled(network, *, scale=1.0):
        network.first.weight.data *= scale
        return network

    study = study_of(
        Method("scaled", build=scaled),
        "dense",
        task=Training(network=Net, train=Points()),
        factors={"network.width": [4, 6], "method.scale": [1.0, 3.0]},
        **{"optimizer.betas": [0.5, 0.9], **FEW},
    )
    assert len(study.cases) == 4 + 2  # plain weights have no scale
    found = [case.begin(study.run(case, 0.03, 0), Surroundings()) for case in study.cases]
    assert [trial.network.first.out_features for trial in found] == [4, 4, 6, 6, 4, 6]
    ratio = found[1].network.first.weight / found[0].network.first.weight
    assert torch.allclose(ratio, torch.tensor(3.0))
    assert found[0]._optimizers[0].param_groups[0]["betas"] == (0.5, 0.9)
    shown = study.of.presentation(study)["methods"]
    assert len({entry["title"] for entry in shown.values()}) == 6
    assert len({(entry["color"], entry["marker"], str(entry["line"])) for entry in shown.values()}) == 6


def test_a_method_of_ours_may_have_an_optimizer_of_its_own():
    study = study_of("sttp stiefel", Method("sttp stiefel", optimizer="riemannian-sgd"), **FEW)
    assert [case.optimizer for case in study.cases] == ["riemannian-adam", "riemannian-sgd"]
    assert [case.title for case in study.cases] == ["sttp stiefel, rank 2"] * 2
    titles = [entry["title"] for entry in study.of.presentation(study)["methods"].values()]
    assert titles == ["STTP stiefel", "STTP stiefel, riemannian-sgd"]


# --- data ---


@pytest.mark.filterwarnings("ignore:train changes its examples")
def test_data_sets_are_read_once_or_anew_and_batches_depend_on_seed_and_position():
    data = Noisy()
    for kept in (True, False):
        task = Training(network=Net, train=data, in_memory=kept)
        first, later = list(zip(range(6), task.batches(3, 8), strict=False)), next(task.batches(3, 8, start=5))
        assert torch.equal(first[5][1].inputs, later.inputs)
        assert torch.equal(first[5][1].targets, later.targets)
        reads = data.reads
        next(task.batches(4, 8))
        assert data.reads == reads + (0 if kept else 8)
        network = Net()
        assert task.evaluate(network, "validation") == task.evaluate(network, "validation")
        assert sum(task.data.sizes) == 120
        same = Training(network=Net, train=Noisy(), in_memory=kept)
        assert same.data.checksum == task.data.checksum


class Unseeded(Points):
    """Points that are read with noise of a generator of their own."""

    draws = np.random.default_rng()

    def __getitem__(self, index):
        inputs, target = super().__getitem__(index)
        return inputs + float(self.draws.normal()), target


def test_what_data_draws_is_seen():
    with pytest.warns(UserWarning, match="give in_memory=False"):
        Training(network=Net, train=Noisy()).data  # noqa: B018
    with pytest.raises(ValueError, match="must draw from the global generators of torch, NumPy or Python"):
        Training(network=Net, train=Unseeded(), in_memory=False).data.checksum  # noqa: B018


def test_numbers_are_learnt_with_the_squared_error_and_scored_by_r_squared():
    inputs = np.random.default_rng(0).normal(size=(200, 8))
    train = (inputs, inputs @ np.arange(8.0))
    task = Training(network=lambda: nn.Linear(8, 1), train=train)
    study = study_of("dense", task=task, **{**FEW, "steps": 150, "batch_size": 32})
    result = perform(study.run(study.cases[0], 0.3, 0))
    assert result.final["test_score"] > 0.99
    assert result.final["test_loss"] < 0.01
    assert result.looks[0].measures["validation_score"] < 0.5


def test_outputs_without_a_column_are_those_of_one():
    inputs = torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
    train = (inputs, inputs[:, 0])

    class Flat(nn.Linear):
        def forward(self, x):
            return super().forward(x)[:, 0]

    def result(network, **of_task):
        task = Training(network=network, train=train, **of_task)
        study = study_of("dense", task=task, **FEW)
        return perform(study.run(study.cases[0], 0.3, 0))

    expected = result(lambda: nn.Linear(8, 1))
    assert result(lambda: Flat(8, 1)).losses == expected.losses
    own = result(lambda: Flat(8, 1), loss=lambda outputs, targets: (outputs - targets).square().mean())
    assert own.final["test_score"] == expected.final["test_score"]


def test_a_name_stands_for_one_thing_in_a_study_and_for_a_trainings_own_network_in_the_next():
    def sized(width):
        def network():
            return Net(width)

        return Training(network=network, train=Points(), name=f"width {width}")

    small, large = sized(4), sized(40)
    for task, numbers in ((small, 4 * 9 + 3 * 5), (large, 40 * 9 + 3 * 41)):
        study = study_of("dense", task=task, **FEW)
        trial = study.cases[0].begin(study.run(study.cases[0], 0.03, 0), Surroundings())
        assert sum(parameter.numel() for parameter in trial.network.parameters()) == numbers

    def with_momentum(momentum):
        return Method(f"momentum {momentum}", low_rank, lambda p, rate: torch.optim.SGD(p, rate, momentum=momentum))

    with pytest.raises(ValueError, match="optimizer 'lambda' is registered and another one"):
        study_of(with_momentum(0.5), with_momentum(0.9), task=small, **FEW)
    study_of(with_momentum(0.9), task=small, **FEW)
    with pytest.raises(ValueError, match="must not be one of ours, got 'sttp stiefel'"):
        Method("sttp stiefel", build=low_rank)


def test_what_cannot_be_chosen_by_or_trained_is_refused():
    for loss in (nn.functional.cross_entropy, nn.CrossEntropyLoss()):
        with pytest.raises(ValueError, match="score must be larger for better outputs"):
            Training(network=Net, train=Points(), score=loss)
    mine = lambda outputs, targets: (outputs.argmax(1) - targets).square().mean()  # noqa: E731
    with pytest.raises(ValueError, match="score must be larger for better outputs"):
        Training(network=Net, train=Points(), loss=mine, score=mine)
    with pytest.raises(ValueError, match="loss must have no parameters"):
        Training(network=Net, train=Points(), loss=Net())


def test_a_score_that_is_not_finite_at_the_end_is_left_out_and_said():
    task = Training(network=Net, train=Points(), test=Points(7), score=lambda o, t: math.nan if len(t) == 7 else 1.0)
    study = study_of("dense", task=task, **FEW)
    with pytest.warns(UserWarning, match="test_score at the end not finite"):
        result = perform(study.run(study.cases[0], 0.03, 0))
    assert result.final["test_score"] is None
    assert not result.diverged
    one = (torch.rand(1, 8), [1.0])
    same = Training(network=lambda: nn.Linear(8, 1), train=(torch.rand(40, 8), torch.rand(40)), test=one)
    study = study_of("dense", task=same, **FEW)
    assert perform(study.run(study.cases[0], 0.03, 0)).final["test_score"] == 0  # R² of one example


class Careful(torch.optim.SGD):
    """Takes small rates alone."""

    def __init__(self, parameters, lr):
        if lr > 0.05:
            raise ValueError(f"lr must be at most 0.05, got {lr}")
        super().__init__(parameters, lr=lr)


def test_a_rate_that_an_optimizer_refuses_is_a_run_that_diverged():
    study = study_of("dense", task=Training(network=Net, train=Points()), optimizer=Careful, **FEW)
    refused = perform(study.run(study.cases[0], 0.1, 0))
    assert refused.diverged_at == 0
    assert refused.reason == "refused: lr must be at most 0.05, got 0.1"
    assert not perform(study.run(study.cases[0], 0.03, 0)).diverged


def test_images_tell_a_network_channels_and_classes_and_may_be_channels_last():
    images = torch.rand(60, 3, 8, 8).to(memory_format=torch.channels_last)
    task = Training(network="wrn-10-1", train=(images, torch.arange(60) % 4))
    study = study_of("sttp stiefel", task=task, **FEW)
    trial = study.cases[0].begin(study.run(study.cases[0], 0.01, 0), Surroundings())
    assert trial.network.linear.out_features == 4
    assert math.isfinite(float(trial.step(0)))


def test_loss_and_scores_of_ones_own_are_used_by_name():
    scores = {"share of 0": lambda outputs, targets: (outputs.argmax(1) == 0).double().mean()}
    scores["mean"] = lambda outputs, targets: outputs.mean()
    task = Training(network=Net, train=Points(), loss=nn.MultiMarginLoss(), score=scores)
    study = study_of("dense", task=task, **FEW)
    result = perform(study.run(study.cases[0], 0.03, 0))
    assert set(result.final) == {"test_score", "test_loss", "test_mean"}
    shown = study.of.presentation(study)
    assert shown["score_name"] == "share of 0"
    assert shown["other_measures"] == {"loss": "loss", "mean": "mean"}
    assert result.losses[0] < 1


def test_what_data_and_losses_draw_is_the_runs_also_where_it_is_resumed(tmp_path, monkeypatch):
    def mixed(outputs, targets):
        share = np.random.beta(1, 1) * random.random()  # noqa: NPY002 as users do
        return share * nn.functional.cross_entropy(outputs, targets)

    task = Training(network=Net, train=Noisy(), loss=mixed, in_memory=False)
    study = study_of("sttp stiefel", task=task, **FEW)
    run = study.run(study.cases[0], 0.03, 0)
    whole = perform(run)
    np.random.seed(5)  # noqa: NPY002
    assert deterministic(interrupted(run, tmp_path, monkeypatch, 2)) == deterministic(whole)


# --- what does not fit is said before the first run ---


class Endless(IterableDataset):
    """Examples without a number."""

    def __iter__(self):
        while True:
            yield torch.zeros(8), 0


def fails(network):
    """Raise an exception."""
    raise RuntimeError("no such kernel")


SHARED, UNSEEDED = Net(), np.random.default_rng()


def filled(value):
    """Return a network of one value."""
    network = Net()
    nn.init.constant_(network.first.weight, value)
    return network


BAD = {
    "output": (
        {"network": lambda: nn.Linear(8, 2)},
        {},
        r"loss .*cannot take what network 'lambda'.*\(8, 2\).*targets",
    ),
    "input": ({"network": lambda: nn.Linear(7, 3)}, {}, r"network 'lambda' cannot take inputs of shape \(8, 8\)"),
    "loss": ({"loss": lambda o, t: o}, {}, r"must be one number with a gradient, got shape \(8, 3\)"),
    "detached": ({"loss": lambda o, t: o.mean().detach()}, {}, "must be one number with a gradient"),
    "nothing": ({"network": lambda: 3}, {}, "network 'lambda' must return a torch.nn.Module, got 3"),
    "module": ({"network": nn.Linear(8, 3)}, {}, "must be a function or class that makes a network"),
    "batch": ({}, {"batch_size": 200}, "batch_size must be at most"),
    "length": ({"train": Endless()}, {}, "train must"),
    "broken": ({}, {"methods": [Method("broken", build=fails)]}, "method 'broken' .*RuntimeError: no such kernel"),
    "none": ({}, {"methods": [Method("none", build=lambda network: None)]}, "must return the network that is trained"),
    "optimizer": ({}, {"optimizer": lambda parameters, rate: None}, "must return a torch.optim.Optimizer, got None"),
    "method": ({}, {"methods": ["dens"]}, "did you mean 'dense'"),
    "key": ({}, {"step": 4}, "did you mean 'steps'"),
    "option": ({}, {"method.alpha": 1.0}, "no method of the study has an option 'alpha'"),
    "table": ({}, {"method.tail": [{"a": 1}]}, "no method of the study has an option 'tail'"),
    "unhashable": ({"network": lambda size=None: Net()}, {"network.size": {"a": 1}}, "must be a number, .* the table"),
    "setting": ({}, {"augment": True}, "augment is no setting of the task"),
    "shared": ({"network": lambda: SHARED}, {}, "must be another one each time, got the same parameters"),
    "unseeded": ({"network": lambda: filled(UNSEEDED.normal())}, {}, "must be the same at equal seeds"),
    "classes": (
        {"test": (torch.zeros(3, 8), torch.tensor([0, 1, 5]))},
        {},
        r"must have an output for each of the 6 classes, got 3",
    ),
    "one logit": (
        {"network": lambda: nn.Linear(8, 1), "loss": lambda o, t: (o[:, 0] - t).square().mean()},
        {},
        r"score 'accuracy' .*\(8, 1\) for targets \(8,\)",
    ),
    "many": ({"score": lambda o, t: o}, {}, "score 'score' must be one number"),
    "numbers": ({"train": (torch.zeros(60, 8), torch.rand(60))}, {}, r"shape of the targets, \(8, 1\), got \(8, 3\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused_before_there_is_a_folder(name, tmp_path):
    of_task, changes, message = BAD[name]
    values = {**FEW, "methods": ["dense", "sttp stiefel"], **changes}
    with pytest.raises((ValueError, TypeError), match=message):
        compare(
            Training(**{"network": Net, "train": Points(), **of_task}),
            output=tmp_path / "new",
            executor="sequential",
            progress=False,
            **values,
        )
    assert not (tmp_path / "new" / "runs").exists()


# --- whole comparisons ---


def test_a_comparison_in_one_call(tmp_path):
    methods = ["dense", "sttp householder-reduced", Method("low rank", build=low_rank, optimizer=torch.optim.Adam)]
    values = {**FEW, "seeds": range(2), "learning_rates": np.array([0.01, 0.03])}
    task = Training(network=NetworkEntry(Net, skip=("second",)), train=Points(), name="points")
    outcome = compare(task, methods=methods, output=tmp_path / "out", executor="sequential", progress=False, **values)
    assert list(outcome.table["method"]) == ["dense", "sttp householder-reduced", "low rank"]
    assert outcome.table["accuracy"].between(0, 1).all()
    assert outcome.table["z"].iloc[0] == 100
    outcome.plot("accuracy", against="z")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "low rank" in page
    other = Training(network=NetworkEntry(Net, skip=("second",)), train=Points(110), name="points")
    with pytest.raises(ValueError, match="other data"):
        compare(other, methods=methods, output=tmp_path / "out", executor="sequential", progress=False, **values)


MODULE = """
import torch
from torch import nn
from sttp.study import Training

def net():
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))

def scaled(network, rank, factor=1.0):
    network[0].weight.data *= factor
    return network

inputs = torch.randn(120, 8, generator=torch.Generator().manual_seed(0))
TASK = Training(network=net, train=(inputs, inputs[:, :3].argmax(1)))
"""
TOML = """
task = "{module}:TASK"
methods = ["{module}:scaled"]
ranks = [2]
learning_rates = [0.03]
seeds = [0]
steps = 4
batch_size = 8
evaluations = 1
optimizer = "sttp.optim:RiemannianAdam"
[factors]
"method.factor" = [1.0, 2.0]
"""


def test_a_users_module_runs_in_worker_processes_and_its_folder_is_drawn_without_it(tmp_path, monkeypatch):
    (tmp_path / "my_study_parts.py").write_text(MODULE)
    (tmp_path / "mine.toml").write_text(TOML.format(module="my_study_parts"))
    monkeypatch.syspath_prepend(tmp_path)
    study = read_study(tmp_path / "mine.toml")
    outcome = run_study(study, tmp_path / "out", workers=2)
    assert len(outcome.results) == 2
    csv = (tmp_path / "out" / "results.csv").read_bytes()
    (tmp_path / "out" / "results.csv").unlink()
    monkeypatch.setattr(sys, "path", sys.path[1:])
    monkeypatch.delitem(sys.modules, "my_study_parts")
    for register in (METHODS, TASKS):
        monkeypatch.setattr(register, "_imported", {})
    assert redraw(tmp_path / "out").finished
    assert "my_study_parts" not in sys.modules
    assert (tmp_path / "out" / "results.csv").read_bytes() == csv


# --- parameterizations of other libraries ---


def orthogonal(network):
    """Give the first layer torch's orthogonal parametrization."""
    nn.utils.parametrizations.orthogonal(network.first)
    return network


def geotorch_orthogonal(network):
    """Give the first layer geotorch's orthogonal parametrization."""
    geotorch = pytest.importorskip("geotorch")
    geotorch.orthogonal(network.first, "weight")
    return network


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("build", [orthogonal, geotorch_orthogonal])
def test_parameterizations_of_other_libraries_are_methods(build):
    trial = begun(Method("theirs", build=build))
    before = trial.look(0)
    losses = [float(trial.step(step)) for step in range(4)]
    assert all(map(math.isfinite, losses))
    assert trial.look(4).measures != before.measures
    assert 0 < trial.facts()["z"] < 200
