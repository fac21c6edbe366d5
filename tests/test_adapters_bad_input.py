"""What adapters refuse, by name and before anything is changed."""

import json

import pytest
import torch
from torch import nn

from sttp import layers
from sttp.adapters import (
    HRA,
    MPO,
    OFT,
    DeepLoRA,
    LoRA,
    LoRTA,
    StelLA,
    STTPAdapter,
    TiedSTTP,
    adapt,
    compress_deep,
    detach,
    load,
    merge,
    published_optimizer,
    report,
    save,
    squeeze,
    switch,
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))


@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda n: adapt(n, "lora"), TypeError, "adapter"),
        (lambda n: adapt(n, LoRA), TypeError, "adapter"),
        (lambda n: adapt([n], LoRA(2)), TypeError, "network"),
        (lambda n: adapt(n, LoRA(2), only="query"), ValueError, "query"),
        (lambda n: adapt(n, LoRA(2), skip="query"), ValueError, "query"),
        (lambda n: adapt(n, LoRA(2), skip=("0", "2")), ValueError, "nothing"),
        (lambda n: adapt(n, LoRA(2), name="a.b"), ValueError, "a.b"),
        (lambda n: adapt(n, LoRA(5)), ValueError, "layer '2'.*at most 4"),
        (lambda n: adapt(n, OFT(8)), ValueError, r"layer '2'.*\[2, 3, 4, 6, 12\]"),
        (lambda n: adapt(n, STTPAdapter(2, modes=((4, 3), (4, 2)))), ValueError, "layer '2'"),
        (lambda n: adapt(n, LoRTA(2, heads=2, matrices=1)), ValueError, "one shape"),
        (lambda n: adapt(nn.Sequential(nn.Embedding(9, 4, max_norm=1.0)), LoRA(2)), ValueError, "max_norm"),
        (lambda n: HRA(3), ValueError, "even"),
        (lambda n: LoRA(0), ValueError, "rank"),
        (lambda n: STTPAdapter(2, start="zero"), TypeError, "start"),
        (lambda n: StelLA(2, start=None), TypeError, "start"),
        (lambda n: adapt(n, TiedSTTP(2, heads=2, matrices=1)), ValueError, "one shape"),
        (lambda n: adapt(n, TiedSTTP(2, heads=5, matrices=1), only="0"), ValueError, "heads"),
        (lambda n: TiedSTTP(2, 1, 0), ValueError, "matrices"),
        (lambda n: TiedSTTP(2, 1, 1, frames="stiefel"), TypeError, "frames"),
        (lambda n: MPO(modes=(4, 3)), TypeError, "modes"),
        (lambda n: MPO(modes=((4, 3.0), (4, 2))), TypeError, "modes"),
        (lambda n: MPO(modes=((4, 0), (4, 2))), ValueError, "modes"),
        (lambda n: squeeze(n, MPO(), 100, only="query"), ValueError, "query"),
        (lambda n: squeeze(n, MPO(), 100.5), TypeError, "numbers"),
        (lambda n: compress_deep(n, 2), ValueError, "no adapter"),
        (lambda n: DeepLoRA(2, compressed=True, gamma=-1), ValueError, "gamma"),
        (lambda n: published_optimizer(LoRA, n, 0.1), TypeError, "adapter"),
        (lambda n: published_optimizer(LoRA(2), [n], 0.1), TypeError, "network"),
        (lambda n: published_optimizer(LoRA(2), n, -0.1), ValueError, "lr"),
        (lambda n: published_optimizer(LoRA(2), nn.ReLU(), 0.1), ValueError, "trains nothing"),
        (report, ValueError, "no adapter"),
        (merge, ValueError, "no adapter"),
        (detach, ValueError, "no adapter"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changed(network, make, error, word):
    before = [(name, type(module)) for name, module in network.named_modules()]
    with pytest.raises(error, match=word):
        make(network)
    assert [(name, type(module)) for name, module in network.named_modules()] == before
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_names_are_one_for_each_weight_and_known(network):
    adapt(network, LoRA(2), only="0")
    with pytest.raises(ValueError, match="default"):
        adapt(network, LoRA(2))
    with pytest.raises(ValueError, match="other"):
        switch(network, "other")
    merge(network)
    with pytest.raises(ValueError, match="merged"):
        merge(network)
    with pytest.raises(ValueError, match="merged"):
        switch(network)


def test_files_of_another_base_or_none_are_refused(network, tmp_path):
    adapt(network, LoRA(2), only="0")
    save(network, tmp_path)
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="another base"):
        load(nn.Sequential(nn.Linear(8, 12)), tmp_path)
    with pytest.raises(ValueError, match="shape"):
        load(nn.Sequential(nn.Linear(6, 12)), tmp_path)
    with pytest.raises(ValueError, match="'0'"):
        load(nn.ModuleDict({"fc": nn.Linear(8, 12)}), tmp_path)
    with pytest.raises(FileNotFoundError):
        load(detach(network), tmp_path / "missing")
    (tmp_path / "adapter.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="no adapter"):
        load(network, tmp_path)
    assert isinstance(network[0], nn.Linear)


def test_a_network_with_adapters_is_not_saved_as_a_spectral_one(network, tmp_path):
    adapt(network, STTPAdapter(2))
    with pytest.raises(ValueError, match="adapters"):
        layers.save(network, tmp_path)


def test_the_description_is_readable(network, tmp_path):
    adapt(network, STTPAdapter(2))
    save(network, tmp_path)
    description = json.loads((tmp_path / "adapter.json").read_text())
    assert description["groups"][0]["layers"] == ["0", "2"]
    assert description["groups"][0]["adapter"]["rank"] == 2
