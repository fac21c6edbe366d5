"""The tasks `classification` and `gan`: losses, pieces of batches, averages, checkpoints, several processes."""

import copy

import numpy as np
import pytest
import studies
import torch
from studies import changed, deterministic, interrupted
from torch import nn

from sttp.layers import STTP, Free, Identity, reparameterize, spectral_weights
from sttp.optim import d_optimal
from sttp.study import TASKS, Evaluation
from sttp.study import loop as loop_module
from sttp.study.loop import perform
from sttp.study.networks.digits import digits
from sttp.study.random_streams import generator_of
from sttp.study.run_files import SAMPLES, Board, grid
from sttp.study.surroundings import Surroundings
from sttp.study.tasks.adversarial import CRITIC
from sttp.study.tasks.averaging import MovingAverage
from sttp.study.tasks.construction import first_network
from sttp.study.tasks.images import KNOWN_SHAPES, open_images
from sttp.study.tasks.trial import accumulate, decay_groups

HERE = Surroundings()


def run_of(method, task="gan", **values):
    """A run of a few steps on the digits."""
    own = {"optimizer": "gan-adam" if task == "gan" else "riemannian-sgd"}
    own |= {"network": "sngan8-discriminator", "samples": 40} if task == "gan" else {"network": "wrn-10-1"}
    if task == "classification":
        own |= {"augment": False, "weight_decay": 0.0}
    values = {"width": 8, "steps": 6, "evaluations": 2, "batch_size": 16, "rate": 0.002, **own, **values}
    return studies.run_of(method, task=task, **values)


@pytest.fixture
def quick_scores(monkeypatch):
    """Scores that need no classifier: the mean and the spread of the images."""

    def score(self, images, split):
        return Evaluation(images.mean().item(), images.std().item(), {"classifier kernel distance": 0.0})

    monkeypatch.setattr("sttp.study.tasks.gan.GeneratedScores.__call__", score)


SHORT = {"steps": 4, "evaluations": 1}
RUNS = {
    "gan": run_of("sttp stiefel R", averaging=0.5, **SHORT),
    "generator": run_of("svdp householder L", network="sngan8-generator", conditional=True, critic_steps=2, **SHORT),
    "classification": run_of(
        "sttp grassmann R", "classification", augment=True, weight_decay=1e-4, averaging=0.5, **SHORT
    ),
    "bfloat16": run_of("sr", "classification", precision="bfloat16", accumulation=2, **SHORT),
    "digits": run_of(
        "sttp stiefel", "digits", network="digits", optimizer="riemannian-adam", rate=0.01, averaging=0.9, **SHORT
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(name, tmp_path, monkeypatch, quick_scores):
    run = RUNS[name]
    whole, resumed = perform(run), interrupted(run, tmp_path, monkeypatch, 2)
    assert deterministic(resumed) == deterministic(whole)
    assert len(resumed.timing.step_seconds) == 4


def begun(run):
    return run.case.begin(run, HERE)


def test_the_loss_of_the_discriminator_is_the_hinge_loss_with_the_penalty():
    run = run_of("sttp stiefel R", critic_steps=1)
    training, splits = begun(run), open_images(run.case, HERE)
    generator, discriminator = copy.deepcopy(training._generator), copy.deepcopy(training.network)
    real = next(splits.batches(run.seed, run.case.batch_size, augmented=False)).images.double() / 127.5 - 1
    noise = torch.randn(16, 128, generator=generator_of(run.seed, CRITIC, 0, 0))
    with torch.no_grad():
        scores = [discriminator(images).numpy().astype(float) for images in (real.float(), generator(noise))]
        penalty = d_optimal(discriminator).item()
    hinge = np.maximum(0, 1 - scores[0]).mean() + np.maximum(0, 1 + scores[1]).mean()
    assert training.step(0).item() == pytest.approx(hinge + penalty, rel=1e-5)


def test_each_step_of_the_generator_follows_several_of_the_discriminator():
    training = begun(run_of("dense", critic_steps=3))
    before = [p.detach().clone() for p in training._generator.parameters()]
    for step in range(2):
        training.step(step)
    made = [next(iter(optimizer.state.values()))["step"] for optimizer in training._optimizers]
    assert [int(count) for count in made] == [2, 6]
    assert any(not torch.equal(old, new) for old, new in zip(before, training._generator.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in training.network.parameters())


def test_pieces_of_a_batch_give_the_gradient_of_the_whole():
    torch.manual_seed(0)
    network, inputs = nn.Linear(5, 3).double(), torch.randn(12, 5, dtype=torch.float64)
    whole = network(inputs).square().mean()
    expected = torch.autograd.grad(whole, list(network.parameters()))
    found = accumulate(network, list(inputs.chunk(4)), lambda piece: network(piece).square().mean())
    assert found.item() == pytest.approx(whole.item(), rel=1e-12)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-12)


def test_a_moving_average_is_the_sum_of_its_terms_and_its_frames_are_orthonormal():
    network = reparameterize(digits(4), STTP(4), generator=torch.Generator().manual_seed(0)).double()
    average, history = MovingAverage(network, 0.8), [[p.detach().clone() for p in network.parameters()]]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        with torch.no_grad():
            for parameter in network.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                moved = parameter + 0.1 * noise
                manifold = getattr(parameter, "manifold", None)
                parameter.copy_(moved if manifold is None else manifold.projx(moved))
        history.append([p.detach().clone() for p in network.parameters()])
        average.update()
    weights = [0.8**3, 0.2 * 0.8**2, 0.2 * 0.8, 0.2]
    averaged = average.network(lambda copied: copied(torch.rand(8, 1, 8, 8, dtype=torch.float64)))
    for index, parameter in enumerate(averaged.parameters()):
        if not hasattr(parameter, "manifold"):
            expected = sum(weight * values[index] for weight, values in zip(weights, history, strict=True))
            assert torch.allclose(parameter, expected, rtol=1e-12)
    assert max(w.orthogonality_error().item() for w in spectral_weights(averaged).values()) < 1e-12
    assert max(w.orthogonality_error().item() for w in spectral_weights(network).values()) < 1e-12


def test_running_statistics_of_a_moving_average_are_those_of_its_own_activations():
    torch.manual_seed(0)
    network = digits(4)
    network(torch.rand(7, 1, 8, 8))
    before = network.norm2.running_mean.clone()
    average, seen = MovingAverage(network, 0.5), []
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    average.update()
    batches = torch.rand(5, 16, 1, 8, 8)

    def show(averaged):
        averaged.norm2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].transpose(0, 1).flatten(1)))
        for batch in batches:
            averaged(batch)

    norm = average.network(show).norm2
    assert len(seen) == len(batches)
    assert torch.allclose(norm.running_mean, torch.cat(seen, dim=1).mean(dim=1), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.stack([values.var(dim=1) for values in seen]).mean(dim=0), rtol=1e-5)
    assert torch.equal(network.norm2.running_mean, before)
    plain = MovingAverage(nn.Linear(2, 2), 0.5)
    assert not plain.network(lambda _: pytest.fail("there is nothing to measure")).weight.grad_fn


@pytest.mark.parametrize("task", ["digits", "classification"])
def test_looks_are_those_of_the_moving_average(task):
    common = {"steps": 30, "evaluations": 1, "batch_size": 64, "rate": 0.1}
    common |= {"optimizer": "riemannian-sgd"} | ({"network": "digits"} if task == "digits" else {})
    plain, still = (perform(run_of("dense", task, averaging=a, **common)) for a in (0.0, 1 - 1e-9))
    assert plain.losses == still.losses
    first, last = still.series("validation_loss")
    assert last == pytest.approx(first, rel=1e-4) == pytest.approx(still.final["test_loss"], rel=0.1)
    assert plain.last("validation_loss") < 0.7 * first


@pytest.mark.parametrize("spectrum", [Free(), Identity()])
def test_frames_and_normalized_spectra_do_not_decay(spectrum):
    network = reparameterize(digits(4), STTP(4, spectrum=spectrum), skip=("conv1",))
    decays = {id(p): group["weight_decay"] for group in decay_groups(network, 0.1) for p in group["params"]}
    for name, parameter in network.named_parameters():
        is_spectral = "spectral." in name
        free = isinstance(spectrum, Free) and name.endswith("spectral.spectrum")
        assert decays[id(parameter)] == (0.1 if free or not is_spectral else 0.0), name
    assert len(decays) == len(list(network.parameters()))


@pytest.mark.parametrize("name", ["digits", "classification"])
def test_each_image_is_seen_alone_and_batch_norms_do_not_learn_from_it(name, monkeypatch):
    case = changed(RUNS[name], averaging=0.0, augment=False, weight_decay=0.0).case
    task, network = TASKS[name].bound(case, HERE), first_network(case, KNOWN_SHAPES["digits"], 0).network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))
    before = copy.deepcopy(network.state_dict())
    found = []
    for size in (64, 7):  # so that images have other companions
        monkeypatch.setattr(f"sttp.study.tasks.{name}.EVALUATION_BATCH", size)
        found.append(task.evaluate(network, "validation"))
    assert found[0].score == found[1].score
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)
    assert network.training
    assert any(name.endswith("running_mean") for name in before)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_classifier_learns():
    run = run_of("dense", "classification", rate=0.1, steps=60, evaluations=1, batch_size=64)
    result = perform(run)
    assert result.final["test_score"] > 0.5
    first = result.looks[0].measures
    assert first["validation_score"] < 0.3
    assert 0 < first["validation_loss"] < 10


def test_samples_are_written_beside_the_result(tmp_path, quick_scores):
    run = RUNS["generator"]
    perform(run, Surroundings(folder=str(tmp_path)))
    assert (tmp_path / "runs" / run.identifier / SAMPLES).read_bytes().startswith(b"\x89PNG")
    images = torch.arange(5 * 3 * 2 * 2).reshape(5, 3, 2, 2) / 60
    canvas = grid(images)
    assert canvas.shape == (5, 8, 3)
    assert canvas[3, 3].tolist() == np.round(images[4, :, 0, 0].numpy() * 255).tolist()
    assert canvas[2].min() == 255  # the gap


class Writer:
    """Stands in for TensorBoard's SummaryWriter."""

    def __init__(self):
        self.scalars, self.images, self.closed = [], [], False

    def add_scalar(self, name, value, step):
        self.scalars.append((name, step))
        assert isinstance(value, float)

    def add_images(self, name, images, step):
        self.images.append((name, tuple(images.shape), step))

    def close(self):
        self.closed = True


def test_tensorboard_is_told_losses_scores_and_samples(monkeypatch, quick_scores):
    writer = Writer()
    monkeypatch.setattr(loop_module, "open_board", lambda *_: Board(writer))
    monkeypatch.setattr("sttp.study.run_files.STEPS_A_POINT", 2)
    perform(RUNS["generator"])
    assert ("training/discriminator", 2) in writer.scalars
    assert ("training/generator", 4) in writer.scalars
    assert {step for name, step in writer.scalars if name == "looks/validation_score"} == {0, 4}
    assert writer.images[-1] == ("samples", (64, 1, 8, 8), 4)
    assert writer.closed
