"""Checkpoints whose frames are off their manifold: refused with the layer's name and the worst error, or repaired."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_layers_survival import INPUT, ON_MANIFOLDS, built, require_alive
from torch import nn

from sttp.layers import decompress, load, repair, save
from sttp.layers._feasibility import TOLERANCE


def rounded(state, dtype):
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def plain():
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("geometry", ON_MANIFOLDS)
def test_rounded_checkpoints_are_refused_and_repaired(geometry, dtype):
    network, source = built(geometry, seed=1), built(geometry)
    with pytest.raises(RuntimeError) as caught:
        network.load_state_dict(rounded(source.state_dict(), dtype))
    errors = {
        name: float(weight.spectral.orthogonality_error()) for name, weight in (("0", network[0]), ("2", network[2]))
    }
    for name, error in errors.items():  # independent of how the message found it: what is in the network now
        assert f"layer '{name}' has frames off their manifold, ‖XᵀX − I‖_F = {error:.2g} > 0.0001" in str(caught.value)
    assert "sttp.layers.repair(network)" in str(caught.value)
    assert repair(network) == pytest.approx(errors)
    assert all(layer.spectral.orthogonality_error() < 1e-6 for layer in (network[0], network[2]))
    torch.testing.assert_close(network(INPUT), source(INPUT), rtol=0, atol=30 * torch.finfo(dtype).eps)
    require_alive(network, geometry)


def test_only_the_layer_that_is_off_is_named():
    network, state = built(), built().state_dict()
    state["2.spectral.coordinates.1"] = 1.001 * state["2.spectral.coordinates.1"]
    with pytest.raises(RuntimeError, match="layer '2'") as caught:
        network.load_state_dict(state)
    assert "layer '0'" not in str(caught.value)


@pytest.mark.parametrize("factor", [0.5, 2])
def test_the_tolerance_is_the_boundary(factor):
    network, state = built().double(), built().double().state_dict()
    frame = state["0.spectral.coordinates.0"]
    columns = frame.shape[1]
    frame *= (1 + factor * TOLERANCE / columns**0.5) ** 0.5  # XᵀX − I = factor · TOLERANCE / √p · I
    if factor < 1:
        network.load_state_dict(state)
    else:
        with pytest.raises(RuntimeError, match="off their manifold"):
            network.load_state_dict(state)


def test_float32_checkpoints_load_into_float64():
    network = built().double()
    network.load_state_dict(built(seed=1).state_dict())
    assert network[0].spectral.orthogonality_error() < 1e-5


def test_entries_that_are_not_numbers_are_refused_and_not_repaired():
    network, state = built(), built().state_dict()
    state["0.spectral.coordinates.0"][0, 0] = torch.nan
    with pytest.raises(RuntimeError, match=r"layer '0'.*inf"):
        network.load_state_dict(state)
    network[2].spectral.coordinates[0] = nn.Parameter(torch.zeros_like(network[2].spectral.coordinates[0]))
    with pytest.raises(ValueError, match="layer '0' has frames without values, NaN or infinite"):
        repair(network)
    with pytest.raises(RuntimeError, match="leave it in training"):  # nothing was changed
        network[2](INPUT[:, :4])


def test_only_what_is_loaded_is_checked():
    network = built().to("meta").to_empty(device="cpu")
    for parameter in network.parameters():
        parameter.data.fill_(2)  # what memory may hold
    state = built().state_dict()
    for part in (dict(list(state.items())[::2]), dict(list(state.items())[1::2])):
        network.load_state_dict(part, strict=False)
    require_alive(network, "stiefel")


def test_nothing_is_checked_on_the_meta_device():
    network = built()
    network.to("meta").load_state_dict(network.state_dict())
    network.load_state_dict(built().state_dict(), assign=True)
    require_alive(network, "stiefel")
    with pytest.raises(ValueError, match="layer '0' has frames without values"):
        repair(network.to("meta"))


def test_low_precision_is_not_assigned():
    network = built()
    before = network[0].spectral.coordinates[0]
    with pytest.raises(TypeError, match=r"layer '0': assign=True would make torch.bfloat16 frames.*without assign"):
        network.load_state_dict(rounded(network.state_dict(), torch.bfloat16), assign=True)
    assert network[0].spectral.coordinates[0] is before


def test_householder_entries_may_be_rounded():
    network = built("householder")
    network.load_state_dict(rounded(network.state_dict(), torch.bfloat16))
    assert network[0].spectral.orthogonality_error() < 1e-5
    assert repair(network) == {}


def test_saved_folders_are_refused_or_repaired(tmp_path):
    network = built()
    save(network, tmp_path)
    file = tmp_path / "model.safetensors"
    (tmp_path / "sttp.json").touch()
    save_file(rounded(load_file(file), torch.bfloat16), file)
    with pytest.raises(ValueError, match="layer '0' has frames off their manifold"):
        load(plain(), tmp_path)
    loaded = load(plain(), tmp_path, repair=True)
    assert all(layer.spectral.orthogonality_error() < 1e-6 for layer in (loaded[0], loaded[2]))
    torch.testing.assert_close(loaded(INPUT), network(INPUT), rtol=0, atol=0.3)
    with pytest.raises(RuntimeError, match="off their manifold"):  # repair was asked for once
        loaded.load_state_dict(load_file(file))
    repair(loaded)
    require_alive(loaded, "stiefel")


def test_repair_leaves_feasible_networks_as_they_are():
    network = nn.ModuleDict({"inner": built()})
    before = copy.deepcopy(network.state_dict())
    assert set(repair(network)) == {"inner.0", "inner.2"}
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=1e-6)
    assert repair(decompress(network)) == {}


def test_averaged_models_are_repaired():
    averaged = torch.optim.swa_utils.AveragedModel(built())
    for seed in range(3):
        averaged.update_parameters(built(seed=seed))
    assert repair(averaged)["module.0"] > 0.1
    assert averaged.module[0].spectral.orthogonality_error() < 1e-6


def test_a_state_of_version_0_1_loads():
    network, other = built(seed=1), built()
    state = {name.replace(".coordinates.", ".frames."): value for name, value in other.state_dict().items()}
    assert any(".frames." in name for name in state)
    network.load_state_dict(state)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())
