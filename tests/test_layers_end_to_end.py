"""ResNet-18 and a transformer encoder go the whole way: spectral, trained, saved, continued elsewhere, exported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import geoopt
import pytest
import torch
from torch import nn
from trains import generator

from sttp.layers import (
    STTP,
    SpectralLayer,
    decompress,
    factorize,
    load,
    parametrized,
    reparameterize,
    save,
    spectral_weights,
)
from sttp.optim import Retracted, RiemannianAdam

STEPS = 3
CLASSES = 5
# Each with the learning rate that it wants, and whether it is one that knows no manifolds.
OPTIMIZERS = {
    "riemannian-adam": (lambda p: RiemannianAdam(p, lr=3e-3), False),
    "geoopt-adam": (lambda p: geoopt.optim.RiemannianAdam(p, lr=3e-3), False),
    "retracted-adamw": (lambda p: Retracted(torch.optim.AdamW, p, lr=3e-3), False),
    "adamw": (lambda p: torch.optim.AdamW(p, lr=3e-3), True),
}


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, Fig. 5 left)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


class ResNet18(nn.Module):
    """ResNet-18 for small images, with a fraction of its width."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths, blocks, inputs = [width, 2 * width, 4 * width, 8 * width], [], width
        for stage, outputs in enumerate(widths):
            blocks += [BasicBlock(inputs, outputs, 1 if stage == 0 else 2), BasicBlock(outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class Encoder(nn.Module):
    """Words, a transformer encoder, and a head on its mean."""

    def __init__(self, words=30, width=16):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(self.encoder(self.embedding(x)).mean(dim=1))


NETWORKS = {"resnet-18": ResNet18, "transformer": Encoder}


def plain(network):
    torch.manual_seed(0)
    return NETWORKS[network]()


def inputs(network, seed):
    if network == "transformer":
        return torch.randint(30, (8, 6), generator=generator(seed))
    return torch.randn(8, 3, 16, 16, generator=generator(seed))


def begun(network, optimizer):
    built = reparameterize(plain(network), STTP(rank=4), generator=generator())
    make, is_foreign = OPTIMIZERS[optimizer]
    built = parametrized(built) if is_foreign else built
    return built, make(built.parameters())


def train(network, built, optimizer, first):
    losses = []
    for step in range(first, first + STEPS):
        labels = torch.randint(CLASSES, (8,), generator=generator(100 + step))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(built(inputs(network, step)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item().hex())
    return losses


def resume(network, optimizer, folder):
    """Continue from what a run left: the whole of the new process."""
    built = load(plain(network), folder)
    resumed = OPTIMIZERS[optimizer][0](built.parameters())
    resumed.load_state_dict(torch.load(Path(folder) / "optimizer.pt", weights_only=True))
    return train(network, built, resumed, STEPS)


def in_new_process(runs):
    code = (
        "import json, sys, test_layers_end_to_end as run\n"
        "print(json.dumps([run.resume(*arguments) for arguments in json.loads(sys.argv[1])]))\n"
    )
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(runs)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


def test_training_is_continued_in_another_process_to_the_same_losses(tmp_path):
    runs, expected = [], []
    for network in NETWORKS:
        for optimizer in OPTIMIZERS:
            folder = tmp_path / f"{network}-{optimizer}"
            built, running = begun(network, optimizer)
            train(network, built, running, 0)
            save(built, folder)
            torch.save(running.state_dict(), folder / "optimizer.pt")
            runs.append((network, optimizer, str(folder)))
            expected.append(train(network, built, running, STEPS))
            assert all(weight.orthogonality_error() < 1e-5 for weight in spectral_weights(built).values())
    for (_, optimizer, _), found, losses in zip(runs, in_new_process(runs), expected, strict=True):
        if optimizer == "geoopt-adam":
            # torch loads its count of steps, an int, as a float32 tensor, in which bias corrections then round.
            found, losses = ([float.fromhex(loss) for loss in run] for run in (found, losses))
            losses = pytest.approx(losses, rel=1e-4)
        assert found == losses


@pytest.mark.parametrize("plainly", [decompress, factorize])
@pytest.mark.parametrize("network", NETWORKS)
def test_trained_networks_are_exported(network, plainly):
    built, optimizer = begun(network, "adamw" if plainly is factorize else "riemannian-adam")
    train(network, built, optimizer, 0)
    built.eval()
    made, x = plainly(built), inputs(network, 50)
    assert not any(isinstance(module, SpectralLayer) for module in made.modules())
    exported = torch.export.export(made, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(made(x), built(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(exported(x), built(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "optimizer"), [*(("transformer", name) for name in OPTIMIZERS), ("resnet-18", "riemannian-adam")]
)
def test_every_optimizer_learns_a_batch(network, optimizer):
    built, running = begun(network, optimizer)
    x, labels, losses = inputs(network, 0), torch.randint(CLASSES, (8,), generator=generator()), []
    for _ in range(15):
        running.zero_grad()
        loss = nn.functional.cross_entropy(built(x), labels)
        loss.backward()
        running.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(weight.orthogonality_error() < 1e-5 for weight in spectral_weights(built).values())
