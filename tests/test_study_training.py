"""One run: where it starts, that it is repeatable, and how it ends when the loss does not stay finite."""

import json

import numpy as np
import pytest
import torch
from studies import deterministic, run_of

from sttp.layers import candidates, spectral_weights
from sttp.study import TASKS, Result
from sttp.study.kind import read_run
from sttp.study.loop import perform
from sttp.study.machine import peak_memory, reset_peak_memory
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


def network_of(method, seed=0, **values):
    return first_network(run_of(method, **values).case, SHAPE, seed).network


def matrices(network):
    return {name: weight.matrix().detach().double() for name, weight in spectral_weights(network).items()}


@pytest.mark.parametrize("spectrum", ["free", "lipschitz", "identity"])
def test_all_methods_start_from_the_same_weights(spectrum):
    networks = {method: network_of(method, spectrum=spectrum) for method in METHODS}
    networks["sttp stiefel, polar"] = network_of("sttp stiefel", spectrum=spectrum, retraction="polar")
    networks["sttp stiefel, canonical"] = network_of("sttp stiefel", spectrum=spectrum, metric="canonical")
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
    first, second = (matrices(network_of("sttp stiefel", seed)) for seed in (0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(not torch.allclose(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def results():
    """A run of each of some methods, and the splits that were read."""
    digits, reads = type(TASKS["digits"]), []
    evaluate = digits.evaluate

    def recorded(self, network, split):
        reads.append(split)
        return evaluate(self, network, split)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "evaluate", recorded)
        made = {}
        for method in ("dense", "sttp stiefel", "sttp householder-reduced"):
            reads.clear()
            made[method] = perform(run_of(method)), list(reads)
        return made


@pytest.mark.parametrize("method", ["dense", "sttp stiefel", "sttp householder-reduced"])
def test_a_run_is_repeatable_to_the_last_bit_and_reads_the_test_split_once_at_its_end(method, results):
    result, reads = results[method]
    assert deterministic(perform(run_of(method))) == deterministic(result)
    assert result.losses[0] != result.losses[-1]
    assert [look.step for look in result.looks] == [0, 3, 6]
    assert result.diverged_at is None
    assert reads.count("test") == 1
    assert reads[-1] == "test"
    assert result.timing.threads == 1
    assert result.timing.peak_memory >= result.timing.base_memory


def test_all_methods_see_the_same_first_loss():
    # Equal weights and equal batches: so equal losses at step 0, up to float32's rounding.
    task = TASKS["digits"]
    losses = [task.loss(network_of(method), next(task.batches(0, 64))).item() for method in METHODS]
    assert max(losses) - min(losses) < 1e-5


@pytest.mark.parametrize("optimizer", ["riemannian-adam", "riemannian-sgd", "geoopt-adam", "geoopt-sgd"])
def test_our_optimizers_and_geoopts_lower_the_loss(optimizer):
    result = perform(run_of("sttp grassmann", rate=0.02, optimizer=optimizer, steps=30, evaluations=1))
    assert sum(result.losses[-5:]) < sum(result.losses[:5])
    assert result.largest("orthogonality_error") < 1e-4


def test_options_of_optimizer_and_retraction_decide_the_outcome_and_survive_json(results):
    plain, _ = results["sttp stiefel"]
    result = perform(run_of("sttp stiefel", retraction="cayley", **{"optimizer.betas": [0.5, 0.9]}))
    assert result.losses[0] == pytest.approx(plain.losses[0], rel=1e-5)
    assert result.losses[-1] != plain.losses[-1]
    assert result.run.identifier != plain.run.identifier
    assert Result.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result
    assert read_run(json.loads(json.dumps(result.run.to_dict()))).identifier == result.run.identifier


def test_singular_values_of_a_dense_network_are_those_of_numpy(results):
    look = results["dense"][0].looks[0]
    for candidate in candidates(network_of("dense")):
        values = np.linalg.svd(candidate.weight.detach().flatten(1).double().numpy(), compute_uv=False)
        assert look.spectra[candidate.names[0]] == pytest.approx(values.tolist(), abs=1e-6)


@pytest.mark.parametrize("method", ["dense", "sttp stiefel", "sttp householder"])
def test_a_loss_that_is_not_finite_ends_the_run(method):
    result = perform(run_of(method, rate=1e30))
    assert result.diverged
    assert 0 < result.diverged_at <= 2
    assert (result.final, result.last("validation_score"), result.final_loss) == ({}, None, None)
    json.dumps(result.to_dict(), allow_nan=False)


def test_peak_memory_sees_what_was_freed_and_only_since_the_reset():
    reset_peak_memory()
    before = peak_memory()
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    del block
    assert peak_memory() - before > 60 * 2**20
    reset_peak_memory()
    assert peak_memory() - before < 30 * 2**20
