"""Outputs and gradients of the methods that PEFT has, beside its own implementation at equal parameters."""

import pytest
import torch
from torch import nn

from sttp.adapters import HRA, OFT, PSOFT, DoRA, LoRA, adapt, adapted_layers

peft = pytest.importorskip("peft")


def two_networks(adapter, config):
    torch.manual_seed(0)
    network = nn.ModuleDict({"fc": nn.Linear(8, 12)})
    theirs = nn.ModuleDict({"fc": nn.Linear(8, 12)})
    theirs.load_state_dict(network.state_dict())
    adapt(network, adapter)
    theirs = peft.inject_adapter_in_model(config, theirs)
    return adapted_layers(network)["fc"], theirs["fc"]


def compare(ours, theirs, pairs):
    """Compare outputs, and gradients of pairs of our parameters, theirs, and what turns one into the other."""
    with torch.no_grad():
        for our, their, turned in pairs:
            torch.manual_seed(their.numel())
            their.add_(0.3 * torch.randn_like(their))
            our.copy_(turned(their))
    vectors = torch.randn(5, 8)
    outputs = ours(vectors), theirs(vectors)
    assert torch.allclose(*outputs, atol=1e-5)
    for output in outputs:
        output.sin().sum().backward()
    for our, their, turned in pairs:
        assert torch.allclose(our.grad, turned(their.grad), atol=1e-4)


def same(tensor):
    return tensor


@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_lora(rank_stabilized):
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["fc"], use_rslora=rank_stabilized)
    ours, theirs = two_networks(LoRA(4, alpha=6, rank_stabilized=rank_stabilized), config)
    change = ours.changes["default"]
    pairs = [(change.A, theirs.lora_A.default.weight, same), (change.B, theirs.lora_B.default.weight, same)]
    compare(ours, theirs, pairs)


def test_dora():
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["fc"], use_dora=True)
    ours, theirs = two_networks(DoRA(4, alpha=6), config)
    change = ours.changes["default"]
    pairs = [
        (change.low_rank.A, theirs.lora_A.default.weight, same),
        (change.low_rank.B, theirs.lora_B.default.weight, same),
        (change.magnitudes, theirs.lora_magnitude_vector.default.weight, same),
    ]
    compare(ours, theirs, pairs)


def test_oft():
    config = peft.OFTConfig(r=0, oft_block_size=4, target_modules=["fc"], use_cayley_neumann=False)
    ours, theirs = two_networks(OFT(4), config)
    compare(ours, theirs, [(ours.changes["default"].entries, theirs.oft_R.default.weight, same)])


def test_hra():
    ours, theirs = two_networks(HRA(4), peft.HRAConfig(r=4, target_modules=["fc"]))
    compare(ours, theirs, [(ours.changes["default"].vectors, theirs.hra_u.default, same)])


def test_psoft():
    config = peft.PsoftConfig(
        r=3, psoft_alpha=3, target_modules=["fc"], psoft_svd="full", use_cayley_neumann=False, psoft_mag_a=True
    )
    ours, theirs = two_networks(PSOFT(3), config)
    change, rotation = ours.changes["default"], theirs.psoft_R["default"]
    pairs = [
        (change.entries, rotation.weight, same),
        (change.a, rotation.vector_a, same),
        (change.b, rotation.vector_b, same),
    ]
    compare(ours, theirs, pairs)
