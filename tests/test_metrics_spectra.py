"""Spectra of layers against numpy's singular values, for every parameterization."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from sttp.layers import STTP, SVDP, Lipschitz, decompress, reparameterize
from sttp.study.baselines import spectral_normalization, spectral_regularization
from sttp.study.metrics import LayerSpectrum, layer_spectra

BASELINES = {"sn": spectral_normalization, "sr": spectral_regularization}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 6, 2, groups=2),
        nn.Flatten(),
        nn.Linear(6, 6),
        nn.Linear(6, 6),
        nn.Linear(6, 2),
    )


def dense_spectra(network):
    """By numpy, of the weights that the layers apply."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            matrix = module.weight.detach().double().numpy().reshape(module.weight.shape[0], -1)
        elif isinstance(module, nn.ConvTranspose2d):
            weight = module.weight.detach().double().numpy()
            groups, inputs, outputs = module.groups, *weight.shape[:2]
            blocks = weight.reshape(groups, inputs // groups, outputs, -1)
            matrix = np.concatenate([block.transpose(1, 0, 2).reshape(outputs, -1) for block in blocks])
        else:
            continue
        found[name] = np.linalg.svd(matrix, compute_uv=False)
    return found


def test_spectra_of_plain_layers_are_numpys_in_the_networks_order():
    spectra, expected = layer_spectra(network()), dense_spectra(network())
    assert list(spectra) == ["0", "2", "4", "5", "6"]
    for name, spectrum in spectra.items():
        values = expected[name]
        np.testing.assert_allclose(spectrum.values, values, rtol=1e-5)
        assert spectrum.spectral_norm == pytest.approx(values[0], rel=1e-5)
        assert spectrum.stable_rank == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-5)
        assert spectrum.smallest == pytest.approx(values[-1] / values[0], rel=1e-4)


@pytest.mark.parametrize("spec", [STTP(rank=3), SVDP(rank=2), SVDP(rank=3, spectrum=Lipschitz())], ids=str)
def test_spectral_layers_tell_their_own_values_beside_plain_ones(spec):
    mixed = reparameterize(network(), spec, skip=("5",))
    for parameter in (module.spectrum for module in mixed.modules() if hasattr(module, "spectrum")):
        nn.init.uniform_(parameter, -2, 2)
    spectra, expected = layer_spectra(mixed), dense_spectra(decompress(mixed))
    assert list(spectra) == list(expected)
    for name, spectrum in spectra.items():
        count = 6 if name == "5" else min(spec.rank, len(expected[name]))
        assert len(spectrum.values) == count
        np.testing.assert_allclose(spectrum.values, expected[name][:count], rtol=1e-4, atol=1e-6)
        assert expected[name][count:].max(initial=0) < 1e-5


@pytest.mark.parametrize("name", BASELINES)
def test_spectra_of_normalized_layers_are_those_of_the_weights_that_they_apply_and_no_state_changes(name):
    normalized = BASELINES[name](network(), skip=("2",))
    with torch.no_grad():
        for _ in range(3):
            normalized[4](torch.zeros(1, 6))
            normalized[4].parametrizations.weight.original.diagonal().add_(0.3)
    state = copy.deepcopy(normalized.state_dict())
    assert all(module.training for module in normalized.modules())
    spectra = layer_spectra(normalized)
    assert all(module.training for module in normalized.modules())
    for key, value in normalized.state_dict().items():
        assert torch.equal(value, state[key]), key
    for key, values in dense_spectra(normalized.eval()).items():
        np.testing.assert_allclose(spectra[key].values, values, rtol=1e-5)


def test_a_frozen_normalization_stays_in_evaluation_mode():
    layer = BASELINES["sn"](nn.Linear(3, 3))
    layer.parametrizations.eval()
    layer_spectra(layer)
    assert not layer.parametrizations.weight[0].training
    assert layer.training


def test_one_decomposition_for_all_matrices_of_one_shape(monkeypatch):
    shapes = []
    svdvals = torch.linalg.svdvals

    def counted(matrices):
        shapes.append(tuple(matrices.shape))
        return svdvals(matrices)

    monkeypatch.setattr(torch.linalg, "svdvals", counted)
    layer_spectra(network())
    assert shapes == [(1, 4, 27), (1, 6, 8), (2, 6, 6), (1, 2, 6)]


def test_shared_weights_count_once_and_half_precision_is_decomposed():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert list(layer_spectra(nn.Sequential(first, second, first))) == ["0"]
    normalized = nn.Sequential(first, second)
    BASELINES["sn"](normalized)
    assert parametrize.is_parametrized(second)
    assert list(layer_spectra(normalized)) == ["0"]
    half = nn.Linear(4, 4).bfloat16()
    expected = np.linalg.svd(half.weight.detach().float().numpy(), compute_uv=False)
    np.testing.assert_allclose(layer_spectra(half)[""].values, expected, rtol=1e-5)


def test_measures_in_closed_form():
    assert LayerSpectrum((2.0, 2.0, 2.0)).stable_rank == 3
    assert LayerSpectrum((4.0, 2.0)).stable_rank == 1.25
    assert LayerSpectrum((4.0, 2.0)).smallest == 0.5
    zero = LayerSpectrum((0.0, 0.0))
    assert (zero.spectral_norm, zero.stable_rank, zero.smallest) == (0, 0, 0)


def test_a_weight_that_is_stored_in_two_tensors_has_its_spectrum():
    layer = parametrizations.weight_norm(nn.Linear(6, 4))
    (found,) = layer_spectra(nn.Sequential(layer)).values()
    assert found.values == pytest.approx(torch.linalg.svdvals(layer.weight).tolist())
