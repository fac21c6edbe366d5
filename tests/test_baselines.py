"""Spectral normalization and regularization against numpy's singular values, and what torch does to such networks."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sttp.study.baselines import SpectralRegularization, spectral_normalization, spectral_regularization
from sttp.study.networks.sngan import discriminator

BASELINES = {"sn": spectral_normalization, "sr": spectral_regularization}

DTYPES = {torch.float32: 2e-6, torch.float64: 1e-12}


def layers():
    torch.manual_seed(0)
    return {
        "linear": nn.Linear(7, 5),
        "column": nn.Linear(6, 1),
        "convolution": nn.Conv2d(4, 6, 3, groups=2),
        "transposed": nn.ConvTranspose2d(4, 6, 3),
        "grouped": nn.ConvTranspose2d(4, 6, 3, groups=2),
        "embedding": nn.Embedding(9, 4),
    }


def matrix_of(layer, weight):
    """The weight's matrix with a row for each output channel, by numpy and an explicit loop over channels."""
    weight = weight.detach().double().numpy()
    if not isinstance(layer, nn.ConvTranspose2d):
        return weight.reshape(len(weight), -1)
    groups, inputs, outputs = layer.groups, *weight.shape[:2]
    rows = [
        [weight[group * inputs // groups + k, row] for k in range(inputs // groups)]
        for group in range(groups)
        for row in range(outputs)
    ]
    return np.array(rows).reshape(groups * outputs, -1)


def spectrum(layer):
    return np.linalg.svd(matrix_of(layer, layer.weight), compute_uv=False)


def original(layer):
    return layer.parametrizations.weight.original


def small_network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).to(dtype)


IMAGES = torch.randn(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


# --- spectral normalization -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in layers() if name != "grouped"])
def test_normalized_weights_tend_to_norm_one_and_keep_their_direction(name):
    layer = spectral_normalization(layers()[name].double())
    for _ in range(300):
        _ = layer.weight
    expected = matrix_of(layer, original(layer))
    torch.testing.assert_close(
        torch.from_numpy(matrix_of(layer, layer.weight)), torch.from_numpy(expected / np.linalg.norm(expected, 2))
    )


def test_one_power_iteration_a_forward_in_training_and_none_in_evaluation():
    layer = spectral_normalization(nn.Linear(7, 5).double())
    (norm,) = layer.parametrizations.weight
    matrix = original(layer).detach().numpy()
    before = norm._u.numpy().copy(), norm._v.numpy().copy()
    layer.eval()(torch.zeros(1, 7, dtype=torch.float64))
    np.testing.assert_array_equal(norm._u.numpy(), before[0])
    layer.train()(torch.zeros(1, 7, dtype=torch.float64))
    left = matrix @ before[1]
    left /= np.linalg.norm(left)
    right = matrix.T @ left
    right /= np.linalg.norm(right)
    np.testing.assert_allclose(norm._u.numpy(), left, rtol=1e-12)
    np.testing.assert_allclose(norm._v.numpy(), right, rtol=1e-12)


def test_the_first_vectors_depend_on_the_generator_alone_and_leave_torchs_generator_alone():
    def vectors(seed, surroundings):
        network = small_network()
        torch.manual_seed(surroundings)
        state = torch.get_rng_state()
        spectral_normalization(network, generator=None if seed is None else torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), state)
        return network[0].parametrizations.weight[0]._u, network[3].parametrizations.weight[0]._u

    for a, b in zip(vectors(3, 1), vectors(3, 2), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(vectors(None, 1), vectors(None, 2), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(vectors(3, 1)[0], vectors(4, 1)[0])


def test_grouped_transposed_convolutions_are_refused_by_torchs_normalization_before_anything_changes():
    network = nn.Sequential(nn.Linear(2, 2), nn.ConvTranspose2d(4, 6, 3, groups=2))
    with pytest.raises(ValueError, match=r"with 2 groups, '1', which torch's spectral .* skip it, or use spectral_reg"):
        spectral_normalization(network)
    assert not parametrize.is_parametrized(network[0])


# --- spectral regularization ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", layers())
def test_singular_values_never_fall_and_vectors_stay(name, dtype):
    layer = spectral_regularization(layers()[name].to(dtype))
    assert isinstance(layer.parametrizations.weight[0], SpectralRegularization)
    floor = np.zeros(min(matrix_of(layer, original(layer)).shape))
    for step in range(6):
        with torch.no_grad():  # a walk in which some values fall and others rise
            noise = torch.randn(original(layer).shape, generator=torch.Generator().manual_seed(step), dtype=dtype)
            original(layer).mul_(0.7).add_(noise, alpha=0.3)
        left, values, right = np.linalg.svd(matrix_of(layer, original(layer)), full_matrices=False)
        floor = np.maximum(floor, values / values[0])
        np.testing.assert_allclose(matrix_of(layer, layer.weight), left * floor @ right, rtol=0, atol=DTYPES[dtype])
    assert (floor - values / values[0]).max() > 0.01 or name == "column"


def test_forwards_at_one_weight_are_one_step_and_evaluation_is_none():
    layer = spectral_regularization(nn.Linear(7, 5).double())
    (regularization,) = layer.parametrizations.weight
    layer.eval()
    _ = layer.weight
    assert not regularization.floor.any()
    layer.train()
    first = layer.weight
    floor = regularization.floor.clone()
    torch.testing.assert_close(layer.weight, first, rtol=0, atol=0)
    assert torch.equal(regularization.floor, floor)
    with torch.no_grad():
        original(layer).copy_(torch.eye(5, 7, dtype=torch.float64) * torch.tensor([[3.0], [1e-3], [1e-3], [0], [0]]))
    trained, evaluated = layer.weight, layer.eval().weight
    np.testing.assert_allclose(spectrum(layer), floor.numpy(), rtol=1e-12)
    torch.testing.assert_close(trained, evaluated, rtol=0, atol=0)


def test_the_gradient_is_that_of_the_normalized_weight():
    # Where nothing is compensated the derivative is true, and finite differences agree.
    shape = (4, 6)
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    layer = spectral_regularization(nn.Linear(*shape[::-1]).double()).eval()
    (regularization,) = layer.parametrizations.weight
    assert torch.autograd.gradcheck(regularization, (weight,))
    cotangent = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (free,) = torch.autograd.grad((regularization(weight) * cotangent).sum(), weight)
    regularization.floor.fill_(1.0)
    (compensated,) = torch.autograd.grad((regularization(weight) * cotangent).sum(), weight)
    torch.testing.assert_close(compensated, free)
    # Scaling W does nothing to the result: the gradient has no component along W.
    assert abs((free * weight).sum()) < 1e-12


def test_a_gradient_penalty_trains_regularized_weights():
    network = spectral_regularization(small_network()).eval()
    images = IMAGES.clone().requires_grad_()
    weight = original(network[3])

    def penalty():
        (slope,) = torch.autograd.grad(network(images).square().sum(), images, create_graph=True)
        return slope.square().sum()

    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * 1e-6)
        values.append(penalty().item())
        with torch.no_grad():
            weight.sub_(direction, alpha=sign * 1e-6)
    assert (gradient * direction).sum().item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_weights_keep_their_precision_under_autocast():
    layer = spectral_regularization(nn.Linear(64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        weight = layer.weight
        assert layer(torch.ones(1, 64)).dtype == torch.bfloat16
    torch.testing.assert_close(weight, layer.weight, rtol=0, atol=0)


def test_half_precision_is_refused():
    with pytest.raises(TypeError, match="the weights of spectral regularization must be float32 or float64"):
        spectral_regularization(nn.Linear(3, 3).bfloat16())


# --- both -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_skipped_layers_are_left_alone_and_a_pattern_that_matches_nothing_is_refused(name):
    network = BASELINES[name](small_network(), skip=("3",))
    assert parametrize.is_parametrized(network[0])
    assert type(network[3]) is nn.Linear
    with pytest.raises(ValueError, match="skip='7' matches no module"):
        BASELINES[name](small_network(), skip=("7",))
    with pytest.raises(ValueError, match="nothing to reparameterize"):
        BASELINES[name](nn.ReLU())


@pytest.mark.parametrize("name", BASELINES)
def test_a_layer_under_two_names_is_normalized_once_and_one_weight_of_two_layers_stays_one(name):
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    network = BASELINES[name](nn.Sequential(first, first, second))
    assert len(first.parametrizations.weight) == 1
    assert original(first) is original(second)
    assert len(list(network.parameters())) == 3


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("options", [{}, {"kdim": 4, "vdim": 6}], ids=str)
def test_attention_is_normalized_as_the_matrices_that_torch_has(name, options):
    torch.manual_seed(0)
    network = BASELINES[name](nn.Sequential(nn.MultiheadAttention(8, 2, **options)))
    attention = network[0]
    names = ["q_proj_weight", "k_proj_weight", "v_proj_weight"] if options else ["in_proj_weight"]
    for weight in (*(getattr(attention, name) for name in names), attention.out_proj.weight):
        assert torch.linalg.matrix_norm(weight.detach(), ord=2) == pytest.approx(1, abs=0.1)
    x = torch.randn(5, 3, 8)
    attention(x, x[..., :4], x[..., :6])[0].sum().backward() if options else attention(x, x, x)[0].sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", BASELINES)
def test_networks_are_copied_and_loaded_with_their_state(name):
    network = BASELINES[name](small_network())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(IMAGES).square().mean().backward()
        optimizer.step()
    twin = copy.deepcopy(network)
    drawn = {"generator": torch.Generator().manual_seed(9)} if name == "sn" else {}
    fresh = BASELINES[name](small_network(), **drawn)
    fresh.load_state_dict(network.state_dict())
    outputs = network(IMAGES)
    for other in (twin, fresh):
        torch.testing.assert_close(other(IMAGES), outputs, rtol=0, atol=0)
        for key, value in network.state_dict().items():
            assert torch.equal(other.state_dict()[key], value)
    # What the copy does from here on is its own.
    with torch.no_grad():
        original(twin[0]).zero_().diagonal().fill_(1)
    twin(IMAGES)
    torch.testing.assert_close(network.eval()(IMAGES), outputs)


@pytest.mark.parametrize("name", BASELINES)
def test_cached_forwards_share_one_weight(name):
    network = BASELINES[name](small_network())
    with parametrize.cached():
        assert network[0].weight is network[0].weight
    assert network[0].weight is not network[0].weight


@pytest.mark.parametrize("name", BASELINES)
def test_a_whole_discriminator_is_normalized_also_with_classes_and_on_the_meta_device(name):
    with torch.device("meta"):
        BASELINES[name](discriminator(8, number_of_classes=4))
    torch.manual_seed(0)
    network = BASELINES[name](discriminator(8, 8, number_of_classes=4))
    labels = torch.arange(4)
    loss = network(torch.randn(4, 1, 8, 8), labels).sum()
    loss.backward()
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding)
    normalized = [module for module in network.modules() if isinstance(module, kinds)]
    assert len(normalized) == 6 + 2 + 1 + 1
    assert all(parametrize.is_parametrized(module) for module in normalized)
    with torch.no_grad():
        for _ in range(50):
            network(torch.zeros(4, 1, 8, 8), labels)
    assert [layer for layer in normalized if not 0.95 < spectrum(layer)[0] < 1.05] == []
