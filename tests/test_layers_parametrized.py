"""Networks that went through ``parametrized``: the same weights, and any optimizer of torch is right."""

import copy
import itertools

import geoopt
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from trains import SPECTRA, generator

from sttp.layers import (
    STTP,
    SVDP,
    Haar,
    Householder,
    Lipschitz,
    Riemannian,
    decompress,
    load,
    parametrized,
    reparameterize,
    save,
    spectral_weights,
)
from sttp.optim import RiemannianAdam

GEOMETRIES = {
    "stiefel": Riemannian(),
    "canonical": Riemannian(metric="canonical"),
    "grassmann": Riemannian(redundant=False),
    "embedded": Riemannian(redundant=False, metric="embedded"),
}
INPUT = torch.randn(5, 8, generator=generator(1))
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 8), nn.Linear(8, 8, bias=False))


def built(geometry="stiefel", spectrum=None, dtype=torch.float32, **options):
    if spectrum is None:
        spectrum = SPECTRA["free"]
    spec = STTP(3, GEOMETRIES[geometry], spectrum, Haar())
    return reparameterize(plain().to(dtype), spec, generator=generator(), **options)


def matrices(network):
    return [weight.matrix().detach().clone() for weight in spectral_weights(network).values()]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize(
    ("geometry", "spectrum"),  # the embedded metric does not take a Lipschitz spectrum
    [pair for pair in itertools.product(GEOMETRIES, SPECTRA) if pair != ("embedded", "lipschitz")],
)
def test_no_weight_changes(geometry, spectrum, dtype, tolerance):
    network = built(geometry, SPECTRA[spectrum], dtype)
    before, output = matrices(network), network(INPUT.to(dtype))
    assert parametrized(network) is network
    for new, old in zip(matrices(network), before, strict=True):
        assert torch.linalg.matrix_norm(new - old) < tolerance * torch.linalg.matrix_norm(old)
    torch.testing.assert_close(network(INPUT.to(dtype)), output, rtol=10 * tolerance, atol=10 * tolerance)
    for weight in spectral_weights(network).values():
        assert weight.manifold.geometry == Householder(redundant=GEOMETRIES[geometry].redundant)
    assert not any(isinstance(parameter, geoopt.ManifoldTensor) for parameter in network.parameters())


@pytest.mark.parametrize(
    ("geometry", "make"),
    [
        ("stiefel", lambda p: torch.optim.AdamW(p, lr=3e-3)),
        ("grassmann", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ("stiefel", lambda p: torch.optim.RMSprop(p, lr=1e-3)),
        ("grassmann", lambda p: torch.optim.Adagrad(p, lr=2e-2)),
    ],
)
def test_any_optimizer_learns_digits_on_the_manifold(geometry, make):
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images[:512], dtype=torch.float32) / 8 - 1, torch.tensor(labels[:512])
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    spec = STTP(6, GEOMETRIES[geometry], initialization=Haar())
    network = parametrized(reparameterize(network, spec, generator=generator()))
    optimizer, losses = make(network.parameters()), []
    for step in range(200):
        batch = torch.randint(512, (64,), generator=generator(step))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 0:
            assert all(weight.orthogonality_error() < 1e-5 for weight in spectral_weights(network).values())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert all(weight.orthogonality_error() < 1e-5 for weight in spectral_weights(network).values())


@every_geometry
def test_what_else_a_network_has_stays(geometry):
    network = built(geometry, init="weights")
    seen = []
    network[0].register_forward_hook(lambda *_: seen.append("run"))
    network[2].spectral.coordinates[1].requires_grad_(False)
    network[3].spectral.spectrum.requires_grad_(False)
    network.eval()
    layers = [network[k] for k in (0, 2, 3)]
    kept = [(layer, layer.bias, layer.plan) for layer in layers]
    errors = [layer.spectral.fit_error for layer in layers]
    trained = [parameter.requires_grad for layer in layers for parameter in layer.spectral.ordered_parameters()]
    parametrized(network)
    for layer, (same, bias, plan) in zip((network[k] for k in (0, 2, 3)), kept, strict=True):
        assert layer is same
        assert layer.bias is bias
        assert layer.plan is plan
    assert [layer.spectral.fit_error for layer in layers] == errors
    assert [p.requires_grad for layer in layers for p in layer.spectral.ordered_parameters()] == trained
    assert not any(module.training for module in network.modules())
    network(INPUT)
    assert seen == ["run"]


def test_shared_weights_stay_shared():
    network = nn.ModuleDict({"first": nn.Linear(8, 8), "second": nn.Linear(8, 8)})
    network["second"].weight = network["first"].weight
    network["again"] = network["first"]
    reparameterize(network, SVDP(3, initialization=Haar()), generator=generator())
    before = network["first"].spectral
    parametrized(network)
    assert network["first"].spectral is network["second"].spectral is network["again"].spectral is not before
    assert len(spectral_weights(network)) == 1


def test_attention_and_single_layers():
    torch.manual_seed(0)
    attention = reparameterize(nn.MultiheadAttention(8, 2, batch_first=True), STTP(3, initialization=Haar()))
    x = INPUT.unsqueeze(0)
    expected = attention(x, x, x)[0]
    torch.testing.assert_close(parametrized(attention)(x, x, x)[0], expected)
    layer = built()[0]
    expected = layer(INPUT)
    torch.testing.assert_close(parametrized(layer)(INPUT), expected)


def test_optimizers_of_before_are_refused():
    network = built()
    network(INPUT).sum().backward()
    optimizer = RiemannianAdam(network.parameters(), lr=1e-3)
    optimizer.step()
    parametrized(network)
    network(INPUT).sum().backward()
    with pytest.raises(RuntimeError, match=r"replaced.*parametrized"):
        optimizer.step()
    RiemannianAdam(network.parameters(), lr=1e-3).step()  # which is Adam for plain parameters


@every_geometry
def test_parametrized_networks_are_saved_copied_and_decompressed(geometry, tmp_path):
    network = parametrized(built(geometry))
    expected = network(INPUT)
    save(network, tmp_path)
    loaded = load(plain(), tmp_path)
    assert torch.equal(loaded(INPUT), expected)
    assert torch.equal(copy.deepcopy(network)(INPUT), expected)
    torch.testing.assert_close(decompress(network)(INPUT), expected)


def test_householder_weights_are_left_alone():
    network = parametrized(built())
    parameters = list(network.parameters())
    parametrized(network)
    assert all(one is other for one, other in zip(parameters, network.parameters(), strict=True))
    mixed = plain()
    reparameterize(mixed, STTP(3, Householder(), Lipschitz()), skip=("2", "3"))
    kept = mixed[0].spectral
    parametrized(reparameterize(mixed, STTP(3)))
    assert mixed[0].spectral is kept
    assert isinstance(mixed[2].spectral.manifold.geometry, Householder)


def test_networks_without_spectral_layers_are_refused():
    with pytest.raises(ValueError, match="network has no spectral layer"):
        parametrized(plain())
    with pytest.raises(TypeError, match="network must be"):
        parametrized("network")
