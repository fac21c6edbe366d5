"""Weights of one shape are made together while a network runs, and no number changes for it."""

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils.checkpoint import checkpoint
from trains import GEOMETRIES, SPECTRA, generator

from sttp.layers import (
    STTP,
    SVDP,
    Free,
    Haar,
    Householder,
    Identity,
    Lipschitz,
    Riemannian,
    SpectralLayer,
    reparameterize,
    shared_evaluation,
    spectral_weights,
)
from sttp.layers import _spectral_weight as module
from sttp.optim import RiemannianSGD

INPUT = torch.randn(3, 8, dtype=torch.float64, generator=generator(1))
every_forward = pytest.mark.parametrize("forward", ["dense", "factors", "cores"])


class Network(nn.Module):
    """Three layers of one shape and one of another; ``middle`` runs what lies between."""

    def __init__(self, middle=lambda function, x: function(x)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.last = nn.Linear(8, 4)
        self.middle = middle

    def inner(self, x):
        return self.layers[1](self.layers[0](x).tanh()).tanh()

    def forward(self, x):
        return self.last(self.layers[2](self.middle(self.inner, x)))


def built(frames=None, spectrum=None, middle=None, forward="factors"):
    torch.manual_seed(0)
    network = Network() if middle is None else Network(middle)
    spec = STTP(3, frames or Riemannian(), spectrum or Free(), Haar(), forward=forward)
    return reparameterize(network.double(), spec, generator=generator())


def alone(network):
    """Return a copy whose layers compute for themselves."""
    network = copy.deepcopy(network)
    network._forward_pre_hooks.clear()
    network._forward_hooks.clear()
    return network


def gradients(network, loss):
    return torch.autograd.grad(loss, list(network.parameters()))


def leaves_nothing(network):
    """Return whether each weight is made afresh, of the parameters as they are."""
    layers = [module for module in network.modules() if isinstance(module, SpectralLayer)]
    return all(layer.spectral.factors() is not layer.spectral.factors() for layer in layers)


@pytest.fixture
def evaluations(monkeypatch):
    """Count how often factors are evaluated."""
    counted = []
    evaluate = module.SpectralTensorTrain.factors_of_frames

    def counting(self, stored, spectrum):
        counted.append(spectrum.shape[:-1])
        return evaluate(self, stored, spectrum)

    monkeypatch.setattr(module.SpectralTensorTrain, "factors_of_frames", counting)
    return counted


@every_forward
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_numbers_are_the_same_with_and_without(geometry, spectrum, forward):
    network = built(GEOMETRIES[geometry], SPECTRA[spectrum], forward=forward)
    single = alone(network)
    output, expected = network(INPUT), single(INPUT)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(
        gradients(network, output.sin().sum()), gradients(single, expected.sin().sum()), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    assert leaves_nothing(network)


def test_one_evaluation_a_shape(evaluations):
    network = built()
    network(INPUT)
    assert sorted(map(tuple, evaluations)) == [(), (3,)]
    evaluations.clear()
    alone(network)(INPUT)
    assert [tuple(batch) for batch in evaluations] == [()] * 4
    evaluations.clear()
    with torch.no_grad(), shared_evaluation(network):
        for _ in range(5):
            network(INPUT)
    assert len(evaluations) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
@pytest.mark.parametrize("within", [nullcontext, shared_evaluation])
def test_copies_are_whole_and_apart(copied, within):
    network = reparameterize(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).double(), SVDP(rank=3))
    with nullcontext() if within is nullcontext else shared_evaluation(network):
        network(INPUT)
        other = copied(network)
    torch.testing.assert_close(other(INPUT), network(INPUT))
    assert leaves_nothing(other)
    with torch.no_grad():
        other[0].spectral.spectrum.mul_(2)
    assert not torch.allclose(other(INPUT), network(INPUT))
    assert [type(frame) for frame in other[0].spectral.coordinates] == [
        type(f) for f in network[0].spectral.coordinates
    ]
    assert other[0].spectral.coordinates[0].manifold == network[0].spectral.coordinates[0].manifold


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_forward_that_raises_leaves_nothing_behind(error, evaluations):
    network = built()
    raising = True

    def middle(function, x):
        if raising:
            network.layers[0](x)
            raise error
        return function(x)

    network.middle = middle
    for _ in range(2):
        with pytest.raises(error):
            network(INPUT)
    assert leaves_nothing(network)
    raising = False
    evaluations.clear()
    network(INPUT)
    assert len(evaluations) == 2
    assert leaves_nothing(network)
    network(INPUT).sum().backward()
    network(INPUT).sum().backward()


@every_forward
def test_networks_that_share_a_layer(forward):
    shared, spec = nn.Linear(8, 8).double(), STTP(3, forward=forward)
    first, second = (nn.Sequential(shared, nn.Linear(8, 8).double()) for _ in range(2))
    whole = reparameterize(nn.ModuleList([first, second]), spec, generator=generator())
    first, second = nn.Sequential(*whole[0]), nn.Sequential(*whole[1])
    for network in (first, second):
        reparameterize(network.append(nn.Linear(8, 8).double()), spec, generator=generator())
    expected = alone(first)(INPUT), alone(second)(INPUT)
    torch.testing.assert_close(first(INPUT), expected[0])
    torch.testing.assert_close(second(INPUT), expected[1])
    with shared_evaluation(first):
        torch.testing.assert_close(second(INPUT), expected[1])
        torch.testing.assert_close(first(INPUT), expected[0])
    assert leaves_nothing(first)
    assert leaves_nothing(second)


def test_networks_within_networks(evaluations):
    inner = built()
    outer = reparameterize(nn.Sequential(inner, nn.Linear(4, 8).double()), STTP(rank=3))
    expected = alone(outer)[1](alone(inner)(INPUT))
    evaluations.clear()
    torch.testing.assert_close(outer(INPUT), expected)
    assert len(evaluations) == 3
    assert leaves_nothing(inner)
    assert leaves_nothing(outer)


def test_a_network_that_calls_itself():
    network = built()
    expected = alone(network)(alone(network)(INPUT).repeat(1, 2))

    def twice(function, x):
        network.middle = lambda function, x: function(x)
        return function(network(x).repeat(1, 2))

    network.middle = twice
    torch.testing.assert_close(network(INPUT), expected)
    assert leaves_nothing(network)


@every_forward
def test_gradient_mode_may_change_inside_a_forward(forward):
    def probed(function, x):
        with torch.no_grad():
            function(x)
        return function(x)

    network = built(middle=probed, forward=forward)
    single = alone(network)
    pairs = zip(gradients(network, network(INPUT).sum()), gradients(single, single(INPUT).sum()), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


@every_forward
def test_changed_parameters_are_seen_within_a_block(forward):
    network = built(forward=forward)
    with torch.no_grad(), shared_evaluation(network):
        before = network(INPUT)
        network.layers[1].spectral.spectrum.mul_(3)
        after = network(INPUT)
        assert not torch.allclose(before, after)
        torch.testing.assert_close(after, alone(network)(INPUT))
        network.load_state_dict(built(spectrum=Free()).state_dict())
        torch.testing.assert_close(network(INPUT), before)
        network.layers[0].spectral.spectrum = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        torch.testing.assert_close(network(INPUT), alone(network)(INPUT))
    with shared_evaluation(network):
        network(INPUT).sum().backward()
        optimizer = RiemannianSGD(network.parameters(), lr=0.1)
        optimizer.step()
        torch.testing.assert_close(network(INPUT), alone(network)(INPUT))
    assert leaves_nothing(network)


def state_of(network, seed):
    """Return other parameters: frames that are none, which a weight does not mind."""
    source = generator(seed)
    return {name: torch.randn(p.shape, dtype=p.dtype, generator=source) for name, p in network.named_parameters()}


def with_state(network, state):
    other = alone(network)
    for weight in spectral_weights(other).values():
        weight.refuses_infeasible = False  # the values need not be frames to be evaluated
    other.load_state_dict(state, strict=False)
    return other


def test_replaced_parameters_are_seen_where_memory_is_used_again():
    network = built(spectrum=Lipschitz())  # whose values are no parameter, so that nothing keeps the old ones
    spectra = torch.rand(20, 3, dtype=torch.float64, generator=generator())

    def state(seed):
        return {"last.spectral.spectrum": spectra[seed].clone()}

    with torch.no_grad(), shared_evaluation(network):
        found = [functional_call(network, state(seed), INPUT) for seed in range(20)]
    for seed, output in enumerate(found):
        torch.testing.assert_close(output, with_state(network, state(seed))(INPUT).detach())


@every_forward
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_functional_call_with_gradients(geometry, forward):
    network = built(GEOMETRIES[geometry], forward=forward)
    state = {name: tensor.requires_grad_() for name, tensor in state_of(network, 3).items()}
    other = with_state(network, state)
    output, expected = functional_call(network, state, INPUT), other(INPUT)
    torch.testing.assert_close(output, expected)
    ours = torch.autograd.grad(output.sin().sum(), list(state.values()))
    for gradient, theirs in zip(ours, gradients(other, expected.sin().sum()), strict=True):
        torch.testing.assert_close(gradient, theirs, rtol=1e-9, atol=1e-9)


@every_forward
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_vmap_over_inputs_and_over_parameters(geometry, forward):
    network = built(GEOMETRIES[geometry], forward=forward)
    torch.testing.assert_close(vmap(network)(INPUT), network(INPUT))
    states = [state_of(network, seed) for seed in range(3)]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    found = vmap(lambda state: functional_call(network, state, INPUT))(stacked)
    expected = torch.stack([with_state(network, state)(INPUT) for state in states])
    torch.testing.assert_close(found, expected)

    def loss(state, x):
        return functional_call(network, state, x).sin().sum()

    apart = vmap(torch.func.grad(loss), (None, 0))(states[0], INPUT)
    for k, x in enumerate(INPUT):
        other = with_state(network, states[0])
        for name, gradient in zip(states[0], gradients(other, other(x).sin().sum()), strict=True):
            torch.testing.assert_close(apart[name][k], gradient, rtol=1e-9, atol=1e-9)
    assert leaves_nothing(network)


@pytest.mark.parametrize("whole", [False, True], ids=["a part", "the whole"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["saved", "reentrant"])
@pytest.mark.parametrize(
    ("geometry", "forward"), [*zip(GEOMETRIES, ("dense", "factors", "cores", "factors"), strict=True)]
)
@pytest.mark.parametrize("block", [False, True], ids=["alone", "block"])
def test_checkpointing_gives_the_same_gradients(geometry, reentrant, whole, block, forward):
    def saved(function, x):
        return checkpoint(function, x, use_reentrant=reentrant)

    network = built(GEOMETRIES[geometry], middle=None if whole else saved, forward=forward)
    plain = alone(network)
    plain.middle = lambda function, x: function(x)
    x, y = (INPUT.clone().requires_grad_() for _ in range(2))
    with shared_evaluation(network) if block else nullcontext():
        output = saved(network, x) if whole else network(x)
        output.sin().sum().backward()
    plain(y).sin().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.as_subclass(torch.Tensor), theirs.grad.as_subclass(torch.Tensor))
    assert leaves_nothing(network)


def test_saved_tensors_on_the_cpu_keep_the_shared_evaluation(evaluations):
    network = built()
    with torch.autograd.graph.save_on_cpu():
        network(INPUT).sum().backward()
    assert len(evaluations) == 2


@every_forward
@pytest.mark.parametrize("frames", [Riemannian(), Householder()], ids=["stiefel", "householder"])
def test_autocast_casts_products_and_no_frames(frames, forward):
    network = built(frames, forward=forward).float()
    x = INPUT.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(x)
        left, values, right = network.last.spectral.factors()
        assert network.last.weight.dtype == torch.float32
    assert output.dtype == torch.bfloat16
    assert left.dtype == values.dtype == right.dtype == torch.float32
    torch.testing.assert_close(left.mT @ left, torch.eye(3), atol=1e-6, rtol=0)  # exact to float32, not bfloat16
    expected = network(x)
    assert (output.float() - expected).norm() < 0.05 * expected.norm()
    output.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())


@every_forward
def test_autocast_leaves_an_embedding_alone_as_torchs(forward):
    network = nn.Sequential(nn.Embedding(10, 6, padding_idx=1, max_norm=0.5))
    network = reparameterize(network, STTP(rank=2, forward=forward))
    indices = torch.tensor([0, 1, 5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(indices)
    assert torch.equal(output, network(indices))


@every_forward
@pytest.mark.parametrize("rows", [1, 4])
def test_the_outputs_precision_under_autocast_does_not_depend_on_the_plan(rows, forward):
    network = reparameterize(nn.Linear(12, rows), STTP(4, Riemannian(redundant=False), forward=forward))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.randn(5, 12, generator=torch.Generator().manual_seed(0))).dtype == torch.bfloat16


@every_forward
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_inference_mode(geometry, forward):
    network = built(GEOMETRIES[geometry], forward=forward)
    expected = network(INPUT).detach()
    with torch.inference_mode():
        torch.testing.assert_close(network(INPUT), expected)
        with shared_evaluation(network):
            torch.testing.assert_close(network(INPUT), expected)
    with shared_evaluation(network):
        with torch.inference_mode():
            network(INPUT)
        network(INPUT).sum().backward()  # not with the tensors of inference mode
    assert all(p.grad is not None for p in network.parameters())


def test_meta_device():
    with torch.device("meta"):
        network = reparameterize(Network(), STTP(rank=2, spectrum=Identity()))
    assert network(torch.empty(5, 8, device="meta")).shape == (5, 4)


@every_forward
def test_second_derivatives(forward):
    network = built(Householder(), forward=forward)
    parameters = list(network.parameters())
    single = alone(network)
    dense = [layer.weight for layer in (*single.layers, single.last)]
    biases = [layer.bias for layer in (*single.layers, single.last)]

    def plain(x):
        for k in (0, 1):
            x = nn.functional.linear(x, dense[k], biases[k]).tanh()
        return nn.functional.linear(nn.functional.linear(x, dense[2], biases[2]), dense[3], biases[3])

    def penalty(output, inputs, x):
        slopes = torch.autograd.grad(output.sin().sum(), [x, *inputs], create_graph=True)
        return torch.stack([slope.square().sum() for slope in slopes]).sum()

    x, y = (INPUT.clone().requires_grad_() for _ in range(2))
    ours = torch.autograd.grad(penalty(network(x), parameters, x), parameters)
    expected = torch.autograd.grad(penalty(plain(y), list(single.parameters()), y), list(single.parameters()))
    for gradient, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, theirs, rtol=1e-8, atol=1e-9)


@every_forward
def test_empty_batch(forward):
    network = built(forward=forward)
    assert network(INPUT[:0]).shape == (0, 4)
    network(INPUT[:0]).sum().backward()


def test_training_after_a_first_forward_under_inference_mode():
    network = reparameterize(torch.nn.Linear(10, 6), STTP(2, frames=Householder(redundant=True)))
    with torch.inference_mode():
        network(torch.ones(2, 10))
    network(torch.ones(2, 10)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
