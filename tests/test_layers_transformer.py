"""Code that reads weights: attention, transformer encoders with their fast path, parametrized neighbours."""

import copy

import pytest
import torch
from torch import nn
from trains import generator

from sttp.layers import STTP, SVDP, Haar, Householder, decompress, reparameterize

SPECS = {
    "sttp": STTP(rank=3, initialization=Haar()),
    "svdp-householder": SVDP(rank=3, frames=Householder(), initialization=Haar()),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def drawn(module, spec):
    torch.manual_seed(0)
    return reparameterize(module(), spec, generator=generator())


@every_spec
def test_attention_reads_the_weight_of_its_projection(spec):
    attention = drawn(lambda: nn.MultiheadAttention(12, 3, batch_first=True), spec)
    dense = decompress(attention)
    x = torch.randn(2, 5, 12, generator=generator())
    output, weights = attention(x, x, x)
    expected, expected_weights = dense(x, x, x)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights, expected_weights)
    output.square().sum().backward()
    assert all(p.grad is not None for p in attention.out_proj.spectral.parameters())


def encoder():
    layer = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@every_spec
def test_encoder_trains_and_takes_its_fast_path(spec, monkeypatch):
    network = drawn(encoder, spec)
    dense = decompress(network)
    x = torch.randn(2, 5, 12, generator=generator())
    torch.testing.assert_close(network.train()(x), dense.train()(x), rtol=1e-5, atol=1e-5)
    network(x).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())

    taken = []
    fast = torch._transformer_encoder_layer_fwd
    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *args: taken.append(1) or fast(*args))
    for mode in (torch.no_grad, torch.inference_mode):
        taken.clear()
        with mode():
            output, expected = network.eval()(x), dense.eval()(x)
        assert len(taken) == 4  # two layers of each network
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


@every_spec
def test_encoder_with_padding_mask(spec):
    layer = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True)
    torch.manual_seed(0)
    network = reparameterize(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), spec)
    mask = torch.tensor([[False] * 5, [False, False, True, True, True]])
    x = torch.randn(2, 5, 12, generator=generator())
    with torch.no_grad():
        slow = network.train()(x, src_key_padding_mask=mask)
        fast = network.eval()(x, src_key_padding_mask=mask)
    kept = ~mask
    torch.testing.assert_close(fast[kept], slow[kept], rtol=1e-5, atol=1e-5)


def test_layers_of_an_encoder_are_drawn_apart():
    network = drawn(encoder, SPECS["sttp"])
    first, second = (layer.linear1.weight for layer in network.layers)
    assert (first - second).abs().max() > 1e-3


def test_code_that_reads_weights():
    layer = drawn(lambda: nn.Sequential(nn.Conv2d(4, 6, 3)), SPECS["sttp"])[0]
    with torch.no_grad():
        assert layer.weight.norm() > 0
    assert layer.weight.dtype == layer.bias.dtype
    assert layer.weight.device == layer.bias.device
    assert "weight" not in dict(layer.named_parameters(recurse=False))
    assert copy.deepcopy(layer).weight.shape == (6, 4, 3, 3)
