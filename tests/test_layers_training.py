"""A training run that is saved, loaded in a new process and continued goes on to the last bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


def resume(geometry, folder):
    """Continue from what a run left: the whole of the new process."""
    network, optimizer, scheduler = begin(geometry)
    state = torch.load(folder / "state.pt", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    return train(network, optimizer, scheduler, STEPS)


def in_new_process(geometries, folder):
    code = (
        "import json, pathlib, sys, test_layers_training as run\n"
        "names, folder = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])\n"
        "print(json.dumps({name: run.resume(name, folder / name) for name in names}))\n"
    )
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(geometries), str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def test_continued_run_gives_the_same_losses_to_the_last_bit(tmp_path):
    expected = {}
    for geometry in GEOMETRIES:
        network, optimizer, scheduler = begin(geometry)
        train(network, optimizer, scheduler, 0)
        (tmp_path / geometry).mkdir()
        state = {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        }
        torch.save(state, tmp_path / geometry / "state.pt")
        expected[geometry] = train(network, optimizer, scheduler, STEPS)
    assert in_new_process(list(GEOMETRIES), tmp_path) == expected


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
