"""Frames stay manifold parameters, feasible and bound together, through all that torch does to modules."""

import copy
import io
import pickle
from contextlib import contextmanager

import geoopt
import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from trains import generator

from sttp.layers import STTP, Haar, Householder, Riemannian, repair, reparameterize, spectral_weights
from sttp.manifolds import TrainMember
from sttp.optim import RiemannianAdam, RiemannianSGD

GEOMETRIES = {
    "stiefel": Riemannian(),
    "grassmann": Riemannian(redundant=False),
    "embedded": Riemannian(redundant=False, metric="embedded"),
    "householder": Householder(redundant=True),
    "householder-reduced": Householder(redundant=False),
}
ON_MANIFOLDS = ("stiefel", "grassmann", "embedded")
INPUT = torch.randn(5, 6, generator=generator())


def built(geometry="stiefel", seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4))
    spec = STTP(rank=3, frames=GEOMETRIES[geometry], initialization=Haar())
    return reparameterize(network, spec, generator=generator(seed))


def stepped(network, optimizer=RiemannianAdam, **options):
    """Train for two steps with an optimizer built now."""
    optimizer = optimizer(network.parameters(), lr=0.05, **options)
    for _ in range(2):
        optimizer.zero_grad()
        network(INPUT.to(next(network.parameters()))).square().sum().backward()
        optimizer.step()
    return optimizer


def require_alive(network, geometry):
    """Every parameter has the manifold it was built with, frames are feasible, and training keeps them so."""
    for weight, twin in zip(
        spectral_weights(network).values(), spectral_weights(built(geometry)).values(), strict=True
    ):
        found, expected = list(weight.parameters()), list(twin.parameters())
        for parameter, original in zip(found, expected, strict=True):
            assert type(parameter) is type(original)
            if isinstance(original, geoopt.ManifoldParameter):
                assert str(parameter.manifold) == str(original.manifold)
        wholes = {id(p.manifold.whole) for p in found if isinstance(getattr(p, "manifold", None), TrainMember)}
        assert len(wholes) == (geometry == "embedded")
        assert weight.orthogonality_error() < 1e-5
    before = copy.deepcopy(network.state_dict())
    stepped(network)
    for name, tensor in network.state_dict().items():
        assert "signs" in name or tensor.numel() == 0 or not torch.equal(tensor, before[name])
    for weight in spectral_weights(network).values():
        assert weight.orthogonality_error() < 1e-5


@contextmanager
def conversions(name):
    """Let torch convert parameters in another way for a while."""
    setters = {
        "swap": torch.__future__.set_swap_module_params_on_conversion,
        "overwrite": torch.__future__.set_overwrite_module_params_on_conversion,
    }
    setter = setters.get(name, lambda _: None)
    setter(True)
    try:
        yield
    finally:
        setter(False)


def through_torch_save(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def through_loading(network, geometry, **options):
    other = built(geometry, seed=1)
    other.load_state_dict(network.state_dict(), **options)
    return other


def through_safetensors(network, geometry, path):
    other = built(geometry, seed=1)
    save_model(network, str(path))
    load_model(other, str(path))
    return other


def through_empty(network):
    state = copy.deepcopy(network.state_dict())
    network = network.to("meta").to_empty(device="cpu")
    network.load_state_dict(state)
    return network


JOURNEYS = {
    "deepcopy": lambda network, *_: copy.deepcopy(network),
    "pickle": lambda network, *_: pickle.loads(pickle.dumps(network)),
    "torch-save": lambda network, *_: through_torch_save(network),
    "load": lambda network, geometry, _: through_loading(network, geometry),
    "assign": lambda network, geometry, _: through_loading(network, geometry, assign=True),
    "safetensors": lambda network, geometry, path: through_safetensors(network, geometry, path),
    "double-float": lambda network, *_: network.double().float(),
    "to-empty": lambda network, *_: through_empty(network),
    "copy-of-a-copy": lambda network, *_: pickle.loads(pickle.dumps(copy.deepcopy(network.double()))).float(),
}


@pytest.mark.parametrize("conversion", ["in-place", "swap", "overwrite"])
@pytest.mark.parametrize("journey", JOURNEYS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_frames_survive(geometry, journey, conversion, tmp_path):
    network = built(geometry)
    expected = network(INPUT).detach()
    with conversions(conversion):
        network = JOURNEYS[journey](network, geometry, tmp_path / "model.safetensors")
    torch.testing.assert_close(network(INPUT), expected)
    require_alive(network, geometry)


@pytest.mark.parametrize("geometry", ON_MANIFOLDS)
def test_state_dicts_that_keep_variables_can_be_assigned(geometry):
    network = built(geometry, seed=1)
    network.load_state_dict(built(geometry).state_dict(keep_vars=True), assign=True)
    require_alive(network, geometry)


@pytest.mark.parametrize("conversion", ["in-place", "swap", "overwrite"])
def test_gradients_and_flags_survive_conversions(conversion):
    network = built()
    network[0].spectral.requires_grad_(False)
    network(INPUT).sum().backward()
    expected = [None if p.grad is None else p.grad.double() for p in network.parameters()]
    flags = [p.requires_grad for p in network.parameters()]
    with conversions(conversion):
        network.double()
    assert flags == [p.requires_grad for p in network.parameters()]
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)


# --- optimizers built before ---

REPLACEMENTS = {
    "assign": lambda network: network.load_state_dict(copy.deepcopy(network.state_dict()), assign=True),
    "to-empty": through_empty,
    "repair-of-an-assignment": lambda network: (
        network[0].spectral.coordinates.__setitem__(
            0, nn.Parameter(network[0].spectral.coordinates[0].detach().clone())
        ),
        repair(network),
    ),
}


@pytest.mark.parametrize("stale_gradients", [True, False])
@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_optimizers_of_replaced_parameters_are_refused(kind, replacement, stale_gradients):
    network = built()
    optimizer = stepped(network, kind)
    if not stale_gradients:
        optimizer.zero_grad()
    REPLACEMENTS[replacement](network)
    network.zero_grad()  # to_empty leaves gradients without values
    network(INPUT).sum().backward()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(RuntimeError, match=r"build the optimizer anew from network.parameters\(\)"):
        optimizer.step()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    again = kind(network.parameters(), lr=0.05)
    again.load_state_dict(optimizer.state_dict())  # the cure
    again.step()
    assert network[0].spectral.orthogonality_error() < 1e-5


def test_optimizers_of_overwritten_householder_parameters_are_refused():
    network = built("householder")
    optimizer = stepped(network)
    with conversions("overwrite"):
        network.double()
    with pytest.raises(RuntimeError, match="build the optimizer anew"):
        optimizer.step()


@pytest.mark.parametrize("change", ["load", "swap-and-back", "deepcopy", "unused", "assigned-back"])
def test_optimizers_of_the_same_parameters_are_not_refused(change):
    network = built()
    optimizer = stepped(network)
    if change == "load":
        network.load_state_dict(built(seed=1).state_dict())
    elif change == "swap-and-back":
        optimizer.zero_grad()
        with conversions("swap"):
            network.double().float()
    elif change == "deepcopy":
        copy.deepcopy(network).to("meta")
    elif change == "assigned-back":
        own = network.state_dict(keep_vars=True)
        network.load_state_dict(built(seed=1).state_dict(), assign=True)
        network.load_state_dict(own, assign=True)
    optimizer.zero_grad()
    # Only a parameter without a gradient is asked whether it was replaced.
    used = network[0] if change in ("unused", "assigned-back") else network
    before = network[0].spectral.coordinates[0].detach().clone()
    used(INPUT).sum().backward()
    optimizer.step()
    assert not torch.equal(network[0].spectral.coordinates[0], before)
    assert network[0].spectral.orthogonality_error() < 1e-5


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_optimizers_follow_a_change_of_precision(kind):
    network = built()
    optimizer = stepped(network, kind)
    network.double()
    optimizer.load_state_dict(optimizer.state_dict())  # casts the state, as with torch's own
    optimizer.zero_grad()
    network(INPUT.double()).sum().backward()
    optimizer.step()
    assert network[0].spectral.orthogonality_error() < 1e-12


def test_replaced_parameters_are_not_kept_alive():
    network = built()
    memory = [parameter.untyped_storage() for parameter in network[0].spectral.coordinates]
    references = [torch.multiprocessing.reductions.StorageWeakRef(storage) for storage in memory]
    del memory
    network.load_state_dict(built(seed=1).state_dict(), assign=True)
    assert all(reference.expired() for reference in references)


# --- what drops a manifold ---


@pytest.mark.parametrize("other", [nn.Parameter, geoopt.ManifoldParameter])
@pytest.mark.parametrize("geometry", ON_MANIFOLDS)
def test_assigned_parameters_are_refused_until_repaired(geometry, other):
    network = built(geometry)
    values = network[2].spectral.coordinates[0].detach() + 0.1
    network[2].spectral.coordinates[0] = other(values.clone())
    for use in (lambda: network(INPUT), lambda: network[2](INPUT[:, :4]), lambda: network[2].weight, network[2].double):
        with pytest.raises(RuntimeError, match=r"leave it in training.*sttp.layers.repair\(network\)"):
            use()
    errors = repair(network)
    assert errors["2"] > 0.1 > 1e-5 > errors["0"]
    require_alive(network, geometry)


def test_an_assigned_spectrum_of_an_embedded_train_is_refused():
    network = built("embedded")
    network[0].spectral.spectrum = nn.Parameter(torch.ones(3))
    with pytest.raises(RuntimeError, match="EmbeddedSpectrum"):
        network(INPUT)
    repair(network)
    require_alive(network, "embedded")


def test_householder_parameters_may_be_assigned():
    network = built("householder")
    network[0].spectral.coordinates[0] = nn.Parameter(network[0].spectral.coordinates[0].detach().clone())
    require_alive(network, "householder")


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_functional_calls_pass(geometry):
    networks = [built(geometry, seed) for seed in range(3)]
    parameters, buffers = stack_module_state(networks)
    outputs = vmap(lambda p, b: functional_call(networks[0], (p, b), INPUT))(parameters, buffers)
    for network, output in zip(networks, outputs, strict=True):
        torch.testing.assert_close(output, network(INPUT))
    plain = {name: parameter.detach() for name, parameter in networks[1].named_parameters()}
    gradients = grad(lambda p: functional_call(networks[1], p, INPUT).square().sum())(plain)
    networks[1](INPUT).square().sum().backward()
    for name, parameter in networks[1].named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)
