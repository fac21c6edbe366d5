"""The fixed spectrum: singular values stay those of the weight that was fitted, and frames are trained."""

import numpy as np
import pytest
import torch
from torch import nn

from sttp.layers import (
    STTP,
    SVDP,
    Fixed,
    Free,
    Householder,
    Riemannian,
    WeightShape,
    load,
    reparameterize,
    report,
    save,
)
from sttp.manifolds import Embedded
from sttp.optim import RiemannianAdam

FRAMES = [Riemannian(redundant=True), Riemannian(redundant=False), Householder(redundant=True), Householder()]
every_spec = pytest.mark.parametrize(
    "spec",
    [kind(rank=rank, frames=f, spectrum=Fixed()) for kind, rank in ((SVDP, 3), (SVDP, 8), (STTP, 3)) for f in FRAMES],
    ids=str,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 8))


def values_of(layers):
    return [np.linalg.svd(layers[k].weight.detach().double().numpy(), compute_uv=False) for k in (0, 2)]


@every_spec
@pytest.mark.parametrize("optimizer", [RiemannianAdam, torch.optim.SGD], ids=["riemannian", "plain"])
def test_training_moves_weights_and_keeps_their_singular_values(spec, optimizer):
    if optimizer is torch.optim.SGD and isinstance(spec.frames, Riemannian):
        pytest.skip("torch's optimizers know no manifolds")
    layers = reparameterize(network(), spec, init="weights")
    layers.requires_grad_(True)  # as code does that trains a whole network again
    before, weights = values_of(layers), [layers[k].weight.detach().clone() for k in (0, 2)]
    steps = optimizer(layers.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(5):
        steps.zero_grad()
        layers(torch.ones(2, 12)).square().sum().backward()
        assert all(layers[k].spectral.spectrum.grad is None for k in (0, 2))
        steps.step()
    for values, now in zip(before, values_of(layers), strict=True):
        np.testing.assert_allclose(now, values, atol=3e-6 * values[0])
    assert all(not torch.allclose(layers[k].weight, w) for k, w in zip((0, 2), weights, strict=True))


def test_values_are_those_of_the_pretrained_weight():
    dense = network()
    expected = np.linalg.svd(dense[0].weight.detach().double().numpy(), compute_uv=False)
    fitted = reparameterize(dense, SVDP(rank=8, spectrum=Fixed()), init="weights")
    np.testing.assert_allclose(np.sort(fitted[0].spectral.singular_values().detach())[::-1], expected, rtol=1e-5)
    assert not fitted[0].spectral.spectrum.requires_grad


@every_spec
def test_values_count_as_no_freedom(spec):
    fixed = report(network(), spec)
    free = report(network(), type(spec)(rank=spec.rank, frames=spec.frames, spectrum=Free()))
    for layer, other in zip(fixed.layers, free.layers, strict=True):
        assert layer.dof == other.dof - other.rank
    manifold = spec.manifold(reparameterize(nn.Linear(12, 8), SVDP(1)).spectral.weight_shape)
    assert manifold.dimension >= manifold.degrees_of_freedom
    if not spec.frames.redundant:
        assert manifold.dimension == manifold.degrees_of_freedom


def test_given_values_make_fresh_weights():
    layer = reparameterize(nn.Linear(6, 5), SVDP(rank=2, spectrum=Fixed((2.0, 0.5))))
    assert layer.spectral.singular_values().tolist() == [2.0, 0.5]


def test_saved_and_loaded(tmp_path):
    layers = reparameterize(network(), STTP(rank=3, spectrum=Fixed()), init="weights")
    save(layers, tmp_path)
    again = load(network(), tmp_path)
    assert again[0].spectral.manifold.spectrum == Fixed()
    assert not again[0].spectral.spectrum.requires_grad
    assert torch.equal(again(torch.ones(1, 12)), layers(torch.ones(1, 12)))


@pytest.mark.parametrize(
    ("error", "act", "words"),
    [
        (ValueError, lambda: reparameterize(network(), SVDP(3, spectrum=Fixed())), ["Fixed()", "init='weights'"]),
        (ValueError, lambda: reparameterize(network(), SVDP(3, spectrum=Fixed((1.0,)))), ["rank, 3", "1 of"]),
        (ValueError, lambda: Fixed(()), ["given", "()"]),
        (ValueError, lambda: Fixed((float("nan"),)), ["given", "finite", "nan"]),
        (TypeError, lambda: Fixed(3.0), ["given", "3.0"]),
        (
            ValueError,
            lambda: SVDP(2, frames=Riemannian(redundant=False, metric=Embedded()), spectrum=Fixed()).manifold(
                WeightShape((4, 4))
            ),
            ["embedded", "Fixed()", "euclidean"],
        ),
    ],
)
def test_without_values_it_is_refused(error, act, words):
    with pytest.raises(error) as caught:
        act()
    assert all(word in str(caught.value) for word in words)
