"""A training run that is saved, loaded and continued goes on to the last bit."""

import io

import pytest
import torch
from torch import nn
from trains import GEOMETRIES, generator

from sttp.layers import STTP, Haar, Lipschitz, load, reparameterize, save, spectral_weights
from sttp.optim import RiemannianAdam

STEPS = 4


def plain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 8)
    )


def begin(geometry):
    spec = STTP(rank=3, frames=GEOMETRIES[geometry], spectrum=Lipschitz(), initialization=Haar())
    network = reparameterize(plain(), spec, generator=generator())
    optimizer = RiemannianAdam(network.parameters(), lr=1e-2)
    return network, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * STEPS)


def train(network, optimizer, scheduler, first):
    losses = []
    for step in range(first, first + STEPS):
        x = torch.randn(5, 1, 4, 4, generator=generator(step))
        optimizer.zero_grad()
        loss = (network(x) - x.flatten(1)[:, :8]).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item().hex())
    return losses


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_continued_run_gives_the_same_losses_to_the_last_bit(geometry):
    parts = begin(geometry)
    train(*parts, 0)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    expected = train(*parts, STEPS)
    file.seek(0)
    resumed = begin(geometry)
    for part, state in zip(resumed, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    assert train(*resumed, STEPS) == expected


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_training_descends_and_keeps_frames_orthonormal(geometry):
    network, optimizer, scheduler = begin(geometry)
    losses = [float.fromhex(loss) for _ in range(15) for loss in train(network, optimizer, scheduler, 0)]
    assert losses[-1] < 0.6 * losses[0]
    assert max(float(w.orthogonality_error()) for w in spectral_weights(network).values()) < 1e-5


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_state_dict_round_trip_by_weights_only_load(geometry, tmp_path):
    network = begin(geometry)[0]
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other = reparameterize(plain(), STTP(rank=3, frames=GEOMETRIES[geometry], spectrum=Lipschitz()))
    x = torch.randn(5, 1, 4, 4, generator=generator())
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other.eval()(x), network.eval()(x))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_saved_network_trains_on_alike(geometry, tmp_path):
    network = begin(geometry)[0]
    save(network, tmp_path)
    loaded = load(plain(), tmp_path)
    runs = []
    for version in (network, loaded):
        optimizer = RiemannianAdam(version.parameters(), lr=1e-2)
        runs.append(train(version, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer), 0))
    assert runs[0] == runs[1]
