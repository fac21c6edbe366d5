"""One run: where it starts, that it is repeatable, and how it ends when the loss does not stay finite."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from studies import TINY
from torch import nn

from sttp.layers import candidates, spectral_weights
from sttp.study import TASKS, Method, Result, Study
from sttp.study.runs.memory import peak_memory, reset_peak_memory
from sttp.study.runs.perform import perform
from sttp.study.tasks.construction import first_network
from sttp.study.tasks.task import ImageShape

SHAPE = ImageShape(channels=1, size=8, classes=10)
METHODS = (
    "svdp stiefel",
    "svdp householder",
    "sttp stiefel",
    "sttp grassmann",
    "sttp householder",
    "sttp householder-reduced",
)


def run_of(method, rate=0.03, seed=0, **changes):
    study = Study("s", (Method.parse(method),), ranks=(4,), steps=6, batch_size=16, evaluations=2, **changes)
    return study.run(study.curves[0], rate, seed)


def matrices(network):
    return {name: weight.matrix().detach().double() for name, weight in spectral_weights(network).items()}


def deterministic(result):
    return {name: value for name, value in asdict(result).items() if name not in ("timing", "environment")}


@pytest.mark.parametrize("spectrum", ["free", "lipschitz", "identity"])
def test_all_methods_start_from_the_same_weights(spectrum):
    networks = {method: first_network(run_of(method, spectrum=spectrum), SHAPE) for method in METHODS}
    reference = matrices(networks["sttp stiefel"])
    assert list(reference) == ["conv1", "conv2", "conv3", "linear"]
    for method, network in networks.items():
        for name, matrix in matrices(network).items():
            assert torch.linalg.norm(matrix - reference[name]) < 2e-6 * torch.linalg.norm(matrix), (method, name)
        plain = {name: p for name, p in network.named_parameters() if "spectral" not in name}
        for name, parameter in networks["sttp stiefel"].named_parameters():
            assert "spectral" in name or torch.equal(parameter, plain[name])


def test_each_seed_starts_elsewhere_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (matrices(first_network(run_of("sttp stiefel", seed=seed), SHAPE)) for seed in (0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(not torch.allclose(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", ["dense", "sttp stiefel", "sttp householder-reduced"])
def test_a_run_is_repeatable_to_the_last_bit(method):
    first, second = perform(run_of(method)), perform(run_of(method))
    assert deterministic(first) == deterministic(second)
    assert first.losses[0] != first.losses[-1]
    assert [snapshot.step for snapshot in first.snapshots] == [0, 3, 6]
    assert first.diverged_at is None


def test_all_methods_see_the_same_first_loss():
    # Equal weights and equal batches: so equal losses at step 0, up to float32's rounding.
    task = TASKS["digits"]
    losses = [task.loss(first_network(run_of(method), SHAPE), next(task.batches(0, 64))).item() for method in METHODS]
    assert max(losses) - min(losses) < 1e-5


@pytest.mark.parametrize("optimizer", ["riemannian-adam", "riemannian-sgd", "geoopt-adam", "geoopt-sgd"])
def test_our_optimizers_and_geoopts_lower_the_loss(optimizer):
    run = replace(run_of("sttp grassmann", rate=0.02, optimizer=optimizer), steps=30, evaluations=1)
    result = perform(run)
    assert sum(result.losses[-5:]) < sum(result.losses[:5])
    assert result.orthogonality_error < 1e-4


def test_a_result_survives_json():
    result = perform(run_of("sttp stiefel"))
    assert Result.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result


def test_singular_values_of_a_dense_network_are_those_of_numpy():
    run = run_of("dense")
    snapshot = perform(run).snapshots[0]
    for candidate in candidates(first_network(run, SHAPE)):
        values = np.linalg.svd(candidate.weight.detach().flatten(1).double().numpy(), compute_uv=False)
        assert snapshot.singular_values[candidate.names[0]] == pytest.approx(values.tolist(), abs=1e-6)


@pytest.mark.parametrize("method", ["dense", "sttp stiefel", "sttp householder"])
def test_a_loss_that_is_not_finite_ends_the_run(method):
    result = perform(run_of(method, rate=1e30))
    assert result.diverged
    assert 0 < result.diverged_at <= 2
    assert (result.test, result.validation, result.final_loss) == (None, None, None)
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_nan_is_recorded_with_its_step(monkeypatch):
    task, calls = TASKS["digits"], []

    def loss(self, network, batch):
        calls.append(None)
        value = nn.functional.cross_entropy(network(batch.images), batch.labels)
        return value * float("nan") if len(calls) == 4 else value

    monkeypatch.setattr(type(task), "loss", loss)
    result = perform(run_of("sttp stiefel"))
    assert result.diverged_at == 3
    assert len(result.losses) == 3


def test_the_test_split_is_read_once_and_at_the_end(monkeypatch):
    task, reads = TASKS["digits"], []
    evaluate = type(task).evaluate

    def recorded(self, network, split):
        reads.append(split)
        return evaluate(self, network, split)

    monkeypatch.setattr(type(task), "evaluate", recorded)
    perform(run_of("dense"))
    assert reads.count("test") == 1
    assert reads[-1] == "test"


def test_peak_memory_sees_what_was_freed_and_only_since_the_reset():
    reset_peak_memory()
    before = peak_memory()
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    del block
    assert peak_memory() - before > 60 * 2**20
    reset_peak_memory()
    assert peak_memory() - before < 30 * 2**20


def test_timing_has_every_step():
    result = perform(TINY.run(TINY.curves[0], 0.01, 0))
    assert len(result.timing.step_seconds) == TINY.steps
    assert sum(result.timing.step_seconds) <= result.timing.total_seconds
    assert result.timing.threads == 1
    assert result.timing.peak_memory >= result.timing.base_memory
