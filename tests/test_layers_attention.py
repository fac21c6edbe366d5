"""Attention: queries, keys and values are spectral weights, and everything else is as in torch."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sttp.layers import STTP, SVDP, Haar, Riemannian, decompress, factorize, load, reparameterize, report, save

E, HEADS = 12, 2
SPECS = {
    "separate": STTP(12, initialization=Haar()),
    "joint": STTP(12, initialization=Haar(), attention="joint"),
    "svdp": SVDP(4, frames=Riemannian(redundant=False)),
}


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(spec, **options):
    """Return a spectral layer and torch's own with the same weights."""
    torch.manual_seed(0)
    spectral = reparameterize(nn.MultiheadAttention(E, HEADS, dtype=torch.float64, **options), spec)
    for name, parameter in spectral.named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    return spectral, decompress(spectral)


def inputs(*shapes, seed=1):
    generator = source(seed)
    return [torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes]


CASES = {
    "self": ({}, (5, 2, E), None),
    "batch-first": ({"batch_first": True}, (2, 5, E), None),
    "unbatched": ({}, (5, E), None),
    "no-bias": ({"bias": False}, (5, 2, E), None),
    "bias-kv": ({"add_bias_kv": True}, (5, 2, E), None),
    "zero-attn": ({"add_zero_attn": True, "add_bias_kv": True}, (5, 2, E), None),
    "cross": ({}, (5, 2, E), ((4, 2, E), (4, 2, E))),
    "sizes": ({"kdim": 8, "vdim": 10}, (5, 2, E), ((4, 2, 8), (4, 2, 10))),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("options", [{}, {"need_weights": False}, {"average_attn_weights": False}], ids=str)
def test_outputs_and_gradients_are_those_of_torch(spec, case, options):
    kinds, shape, others = case
    spectral, dense = pair(spec, **kinds)
    query = inputs(shape)[0].requires_grad_()
    key, value = inputs(*others, seed=2) if others else (query, query)
    ours, theirs = spectral(query, key, value, **options), dense(query, key, value, **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    (first,), (second,) = (torch.autograd.grad(out[0].square().sum(), query) for out in (ours, theirs))
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("joint", [False, True])
def test_masks_are_those_of_torch(need_weights, joint):
    spectral, dense = pair(SPECS["joint" if joint else "separate"])
    (x,) = inputs((5, 2, E))
    padding = torch.tensor([[False, False, False, True, True], [False] * 5])
    causal = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    added = torch.zeros(5, 5, dtype=torch.float64).masked_fill(causal, -torch.inf)
    each = torch.randn(2 * HEADS, 5, 5, dtype=torch.float64, generator=source())
    for options in (
        {"key_padding_mask": padding},
        {"attn_mask": causal},
        {"attn_mask": added, "is_causal": True},
        {"attn_mask": each},
        {"attn_mask": causal, "key_padding_mask": padding},
    ):
        ours, theirs = (layer(x, x, x, need_weights=need_weights, **options) for layer in (spectral, dense))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("joint", [False, True])
def test_transformers_run_in_both_modes(joint):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(E, HEADS, 24, dropout=0.0, batch_first=True)
    spectral = reparameterize(nn.TransformerEncoder(layer, 2), SPECS["joint" if joint else "separate"])
    dense = decompress(spectral)
    x = torch.randn(2, 5, E, generator=source())
    padding = torch.tensor([[False, False, False, True, True], [False] * 5])
    for training in (True, False):
        ours, theirs = (network.train(training)(x, src_key_padding_mask=padding) for network in (spectral, dense))
        torch.testing.assert_close(ours[~padding], theirs[~padding], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        ours, theirs = (network.eval()(x, src_key_padding_mask=padding) for network in (spectral, dense))
    torch.testing.assert_close(ours[~padding], theirs[~padding], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(factorize(spectral).eval()(x), dense.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_weights_are_fitted_saved_copied_and_counted(spec, tmp_path):
    torch.manual_seed(0)
    plain = nn.TransformerEncoderLayer(E, HEADS, 24, dropout=0.0, batch_first=True)
    full = {"separate": 12, "joint": 36}.get(spec.attention, 12)
    exact = reparameterize(copy.deepcopy(plain), STTP(full, attention=spec.attention), init="weights")
    x = torch.randn(2, 5, E, generator=source())
    torch.testing.assert_close(exact(x), plain(x), rtol=1e-4, atol=1e-5)
    network = reparameterize(copy.deepcopy(plain), spec)
    save(network, tmp_path)
    loaded = load(copy.deepcopy(plain), tmp_path)
    for other in (loaded, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(x), network(x), rtol=0, atol=0)
    names = [row.name for row in report(network).layers]
    assert any(name.startswith("self_attn.") and "proj" in name for name in names)
    counted = report(plain, spec)
    assert (counted.dof, counted.kept) == (report(network).dof, report(network).kept)
    assert counted.dense + counted.kept == sum(p.numel() for p in plain.parameters())


def test_what_stays_dense_is_named():
    network = nn.ModuleDict(
        {"lstm": nn.LSTM(4, 4), "bilinear": nn.Bilinear(3, 4, 5), "linear": nn.Linear(6, 6), "head": nn.Linear(6, 2)}
    )
    reparameterize(network, STTP(2), skip=("head",))
    counted = report(network)
    named = {row.name: row.shape for row in counted.left_dense}
    assert named["bilinear.weight"] == (5, 3, 4)
    assert named["lstm.weight_ih_l0"] == (16, 4)
    assert named["head.weight"] == (2, 6)
    assert all(name in str(counted) for name in named)


def test_a_copy_is_made_where_asked():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), nn.MultiheadAttention(6, 2))
    other = reparameterize(network, STTP(2), inplace=False)
    assert type(network[0]) is nn.Linear
    assert type(network[1]) is nn.MultiheadAttention
    assert type(other[0]) is not nn.Linear
