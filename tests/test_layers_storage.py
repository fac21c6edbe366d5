"""Networks on disk: rebuilt with equal outputs, shared and tied as they were, and never half-written."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save_file
from torch import nn
from trains import generator

from sttp.layers import (
    STTP,
    SVDP,
    Haar,
    Householder,
    Identity,
    Lipschitz,
    Riemannian,
    load,
    reparameterize,
    report,
    save,
)
from sttp.layers import _storage as storage
from sttp.manifolds import Cayley, Exponential, Geometry, Polar

SPECS = {
    "stiefel": STTP(rank=3, initialization=Haar()),
    "grassmann": STTP(rank=2, frames=Riemannian(False, "canonical", Cayley(polishes=3)), spectrum=Identity()),
    "householder": SVDP(rank=3, frames=Householder(redundant=True), spectrum=Lipschitz(), initialization=Haar()),
    "householder-reduced": STTP(rank=3, frames=Householder(), initialization=Haar()),
    "polar": STTP(rank=3, frames=Riemannian(retraction=Polar(polishes=1))),
    "exponential": SVDP(rank=3, frames=Riemannian(retraction=Exponential())),
}
IMAGES = torch.randn(2, 3, 6, 6, generator=generator())


class Network(nn.Module):
    """Shared modules, tied weights and a normalization."""

    def __init__(self, width=8):
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.shared = nn.Linear(width, width)
        self.again = nn.Sequential(self.shared)
        self.embedding = nn.Embedding(10, width, padding_idx=3)
        self.decoder = nn.Linear(width, 10)
        self.decoder.weight = self.embedding.weight

    def forward(self, x):
        hidden = self.norm(self.convolution(x)).mean((2, 3))
        hidden = self.again(self.shared(hidden).relu())
        return self.decoder(hidden) + self.embedding(torch.arange(4)).sum()


def built(spec=SPECS["stiefel"], seed=0, **options):
    torch.manual_seed(seed)
    network = Network()
    network(IMAGES)  # moves the running statistics
    return reparameterize(network, spec, generator=generator(seed), **options).eval()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_loaded_networks_give_equal_outputs(spec, tmp_path):
    network = built(spec)
    save(network, tmp_path / "new" / "folder")
    plain = Network()
    loaded = load(plain, tmp_path / "new" / "folder")
    assert loaded is plain
    torch.testing.assert_close(loaded.eval()(IMAGES), network(IMAGES), rtol=0, atol=0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert loaded.shared is loaded.again[0]
    assert loaded.embedding.spectral is loaded.decoder.spectral
    assert loaded.shared.spectral.manifold == network.shared.spectral.manifold
    assert loaded.shared.spectral.manifold.geometry == spec.frames
    assert str(report(loaded)) == str(report(network))
    assert len(loaded._forward_pre_hooks) == 1
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["model.safetensors", "sttp.json"]


def test_mixed_specifications_and_skipped_layers(tmp_path):
    network = built(SPECS["stiefel"], skip=("shared", "again", "embedding", "decoder"))
    reparameterize(network, SPECS["householder-reduced"], skip=("embedding", "decoder"))
    save(network, tmp_path)
    loaded = load(Network(), tmp_path).eval()
    assert type(loaded.decoder) is nn.Linear
    assert loaded.shared.spectral.manifold.geometry.name == "householder-reduced"
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=0, atol=0)


def test_skipped_layers_may_be_tied_to_anything(tmp_path):
    def plain():
        network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        network.extra = network[1].weight
        return network

    network = reparameterize(plain(), SVDP(rank=2), skip="1")
    save(network, tmp_path)
    loaded = load(plain(), tmp_path)
    assert loaded.extra is loaded[1].weight
    torch.testing.assert_close(loaded(torch.eye(4)), network(torch.eye(4)))


def test_fit_errors_and_padding_are_kept(tmp_path):
    spec = STTP(rank=2, modes=lambda weight: ((16,), (weight.columns,)), pad=True)
    network = reparameterize(nn.Sequential(nn.Linear(5, 9)), spec, init="weights")
    save(network, tmp_path)
    loaded = load(nn.Sequential(nn.Linear(5, 9)), tmp_path)
    assert loaded[0].spectral.fit_error == network[0].spectral.fit_error > 0
    assert loaded[0].weight.shape == (9, 5)
    torch.testing.assert_close(loaded[0].weight, network[0].weight)


@pytest.mark.parametrize("moment", ["model.safetensors", "sttp.json"])
def test_a_kill_at_any_moment_leaves_a_network(moment, tmp_path, monkeypatch):
    old, new = built(SPECS["stiefel"]), built(SPECS["householder"], seed=1)
    save(old, tmp_path)
    replace = Path.replace

    def killed(self, target):
        if Path(target).name == moment:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(new, tmp_path)
    monkeypatch.undo()
    expected = old if moment == "model.safetensors" else new
    torch.testing.assert_close(load(Network(), tmp_path).eval()(IMAGES), expected(IMAGES), rtol=0, atol=0)
    assert len(list(tmp_path.iterdir())) == 2  # no temporary file is left


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    network = built()
    save(network, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(storage, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(built(seed=1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_wrong_networks_are_refused(tmp_path):
    save(built(), tmp_path)
    with pytest.raises(ValueError, match=r"network has no layer '.*' as the saved one has"):
        load(nn.Sequential(nn.Linear(4, 4)), tmp_path)
    with pytest.raises(ValueError, match=r"layer 'convolution' has a 16 x 27 weight, the saved one 8 x 27"):
        load(Network(width=16), tmp_path)
    without_bias = Network()
    without_bias.shared.bias = None
    with pytest.raises(ValueError, match=r"network does not fit (.|\n)*\.bias"):
        load(without_bias, tmp_path)
    with pytest.raises(ValueError, match="network has no spectral layer to save"):
        save(Network(), tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 1, "layers": {"shared": {}}}', '{"format": 1, "layers": 3}', "\udcff"],
)
def test_corrupted_descriptions_are_refused(text, tmp_path):
    save(built(), tmp_path)
    tensors = tensors_of((tmp_path / "model.safetensors").read_bytes())
    save_file(tensors, tmp_path / "model.safetensors")  # without a description of their own, or with one
    (tmp_path / "sttp.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    network = Network()
    with pytest.raises(ValueError, match=r"directory='.*' has no description of a network in sttp\.json"):
        load(network, tmp_path)
    save_file(tensors, tmp_path / "model.safetensors", {"sttp.json": text.replace("\udcff", "{") or "{"})
    with pytest.raises(ValueError, match=r"directory='.*' has no description of a network in sttp\.json"):
        load(network, tmp_path)
    assert type(network.shared) is nn.Linear


def test_corrupted_tensors_are_refused(tmp_path):
    save(built(), tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    network = Network()
    for part in (b"", content[:100], content[: len(content) // 2]):
        (tmp_path / "model.safetensors").write_bytes(part)
        with pytest.raises(ValueError, match=r"no tensors in model\.safetensors"):
            load(network, tmp_path)
    assert type(network.shared) is nn.Linear
    for name in ("model.safetensors", "sttp.json"):
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError):
            load(network, tmp_path)


def test_another_format_is_refused(tmp_path):
    save(built(), tmp_path)
    description = json.loads((tmp_path / "sttp.json").read_text())
    assert description["format"] == 1
    newer = json.dumps({**description, "format": 2})
    save_file({}, tmp_path / "model.safetensors", {"sttp.json": newer})
    with pytest.raises(ValueError, match=r"format 2, where this version reads 1"):
        load(Network(), tmp_path)


def test_foreign_geometries_cannot_be_saved(tmp_path):
    @dataclass(frozen=True)
    class Foreign(Geometry):
        redundant: bool = True
        name: str = "foreign"

        def chart(self, frame, gauge_fixed):
            return Riemannian().chart(frame, gauge_fixed)

    network = reparameterize(nn.Sequential(nn.Linear(4, 4)), SVDP(rank=2, frames=Foreign()))
    with pytest.raises(ValueError, match="cannot be saved"):
        save(network, tmp_path)
    assert not list(tmp_path.iterdir())
