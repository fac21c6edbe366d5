"""Attention: queries, keys and values are spectral weights, and everything else is as in torch."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sttp import layers
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


# --- what torch's own layer does beyond equal outputs ----------------------------------------------------------------

every_attention = pytest.mark.parametrize("attention", ["separate", "joint"])


def spec_of(attention, rank=4, **options):
    return STTP(rank, initialization=Haar(), attention=attention, **options)


@every_attention
@pytest.mark.parametrize("forward", ["dense", "factors", "cores", "auto"])
def test_every_route_gives_the_outputs_of_torch_for_all_kinds_of_inputs(attention, forward):
    spectral, dense = pair(spec_of(attention, forward=forward), add_bias_kv=True)
    x, y, z = inputs((5, 2, E), (4, 2, E), (4, 2, E))
    for arguments in ((x, x, x), (x, y, y), (x, y, z), (x, x, x.clone())):
        torch.testing.assert_close(spectral(*arguments), dense(*arguments), rtol=1e-10, atol=1e-12)


@every_attention
def test_masks_of_cross_attention_and_without_a_batch(attention):
    spectral, dense = pair(spec_of(attention), batch_first=True, add_zero_attn=True)
    x, y, single, other = inputs((3, 5, E), (3, 4, E), (5, E), (4, E))
    padding = torch.tensor([[False, True, False, True], [False] * 4, [False, False, True, True]])
    for options in ({}, {"need_weights": False}):
        ours, theirs = (layer(x, y, y, key_padding_mask=padding, **options) for layer in (spectral, dense))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        each = torch.randn(HEADS, 5, 4, dtype=torch.float64, generator=source())
        for mask, row in ((each, padding[0].double() * -9), (each[0], None), (each > 1, padding[0])):
            masks = {"attn_mask": mask, "key_padding_mask": row, "average_attn_weights": False, **options}
            ours, theirs = (layer(single, other, other, **masks) for layer in (spectral, dense))
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@every_attention
def test_dropout_is_drawn_in_training_alone_and_keeps_the_mean(attention):
    spectral, dense = pair(spec_of(attention), dropout=0.5)
    x = inputs((6, 1, E))[0].expand(6, 4000, E)
    for need_weights in (True, False):
        with torch.no_grad():
            torch.manual_seed(0)
            ours, weights = spectral.train()(x, x, x, need_weights=need_weights, average_attn_weights=False)
            theirs = dense.train()(x, x, x, need_weights=need_weights)[0]
            torch.testing.assert_close(ours.mean(1), theirs.mean(1), rtol=0, atol=0.05)
            torch.testing.assert_close(ours.std(1), theirs.std(1), rtol=0.1, atol=0.01)
            if need_weights:
                assert 0.45 < (weights == 0).double().mean() < 0.55
            expected = dense.eval()(x, x, x, need_weights=need_weights)[0]
            torch.testing.assert_close(spectral.eval()(x, x, x, need_weights=need_weights)[0], expected)


@every_attention
@pytest.mark.parametrize("need_weights", [True, False])
def test_autocast_takes_products_in_low_precision_as_torch_does(attention, need_weights):
    spectral, dense = (layer.float() for layer in pair(spec_of(attention), add_bias_kv=True, batch_first=True))
    x = inputs((2, 5, E))[0].float()
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (layer(x, x, x, attn_mask=mask, need_weights=need_weights)[0] for layer in (spectral, dense))
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
    ours.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in spectral.parameters())


def test_self_attention_takes_fewer_operations_than_torch():
    def work(layer, *arguments):
        with FlopCounterMode(display=False) as counter:
            layer(*arguments, need_weights=False)
        return counter.get_total_flops()

    x, y = torch.randn(64, 8, 256, generator=source()), torch.randn(64, 8, 256, generator=source(1))
    plain = nn.MultiheadAttention(256, 4)
    found = {}
    for attention in ("separate", "joint"):
        spectral = reparameterize(plain, SVDP(4, attention=attention, forward="factors"), inplace=False)
        for name, arguments in (("self", (x, x, x)), ("cross", (x, y, y)), ("three", (x, y, y.clone()))):
            found[attention, name] = work(spectral, *arguments)
    attended = work(plain, x, x, x) - 2 * 512 * 4 * 256 * 256
    output, projection = 2 * 512 * 4 * 2 * 256, 2 * 512 * 4 * 256
    separate = attended + output + 6 * projection
    assert [found["separate", name] for name in ("self", "cross", "three")] == [separate] * 3
    # One V for all three where they have one input, two where keys and values have one.
    assert found["joint", "self"] == separate - 2 * projection
    assert found["joint", "cross"] == separate - projection
    assert found["joint", "three"] == separate


@every_attention
def test_nested_tensors_go_to_torchs_kernel(attention):
    torch.manual_seed(0)
    spectral = reparameterize(nn.MultiheadAttention(E, HEADS, batch_first=True), spec_of(attention)).eval()
    dense = decompress(spectral)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors", category=UserWarning)
        x = torch.nested.nested_tensor([torch.randn(5, E), torch.randn(3, E)])
        ours, theirs = (layer(x, x, x, need_weights=False)[0] for layer in (spectral, dense))
    for one, other in zip(ours.unbind(), theirs.unbind(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@every_attention
def test_decoders_train_and_agree(attention):
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(E, HEADS, 24, dropout=0.0, batch_first=True)
    spectral = reparameterize(nn.TransformerDecoder(layer, 2), spec_of(attention))
    dense = decompress(spectral)
    x, y = torch.randn(2, 5, E, generator=source()), torch.randn(2, 4, E, generator=source(1))
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    for training in (True, False):
        ours, theirs = (network.train(training)(x, y, tgt_mask=mask) for network in (spectral, dense))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.square().sum().backward()
    assert all(p.grad is not None for p in spectral.parameters())


@pytest.mark.parametrize(
    ("options", "bad"),
    [
        ({}, {"is_causal": True}),
        ({}, {"attn_mask": torch.zeros(5, 4)}),
        ({}, {"attn_mask": torch.zeros(5, 5, dtype=torch.int64)}),
        ({}, {"key_padding_mask": torch.zeros(5, dtype=torch.bool)}),
        ({}, {"key": torch.zeros(5, 1, E, dtype=torch.float64)}),
        ({}, {"value": torch.zeros(4, 2, E, dtype=torch.float64)}),
        ({"batch_first": True}, {"query": torch.zeros(1, 2, E, dtype=torch.float64)}),
        ({}, {"query": torch.zeros(2, E, dtype=torch.float64)}),
    ],
)
def test_inputs_and_masks_that_do_not_fit_are_refused_by_name(options, bad):
    spectral, dense = pair(SPECS["separate"], **options)
    (x,) = inputs((5, 2, E))
    arguments = {"query": x, "key": x, "value": x, **bad}
    named = next(iter(bad)).replace("is_causal", "attn_mask")
    with pytest.raises((ValueError, TypeError), match=rf"{named}.*must"):
        spectral(**arguments)
    with pytest.raises(Exception):  # noqa: B017, PT011 - torch's are of many kinds
        dense(**arguments)


# --- conversion of networks -----------------------------------------------------------------------------------------


@every_attention
@pytest.mark.parametrize("options", [{}, {"kdim": 8, "vdim": 10, "bias": False}, {"add_bias_kv": True}], ids=str)
def test_a_round_trip_gives_torchs_layer_with_its_state(attention, options):
    plain = nn.MultiheadAttention(E, HEADS, dropout=0.25, batch_first=True, **options).eval()
    seen = []
    plain.register_forward_hook(lambda *_: seen.append(1))
    spectral = reparameterize(plain, spec_of(attention, rank=36), init="weights", inplace=False)
    joint = attention == "joint" and "kdim" not in options
    names = ["in_proj"] if joint else ["q_proj", "k_proj", "v_proj"]
    assert [row.name for row in report(spectral).layers] == [*names, "out_proj"]
    assert report(plain, spec_of(attention, rank=36)).to_dict()["layers"][0]["name"] == names[0]
    assert max(row.fit_error for row in report(spectral).layers) < 1e-6
    dense = decompress(spectral)
    assert type(dense) is nn.MultiheadAttention
    assert list(dense.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(dict(dense.named_parameters()), dict(plain.named_parameters()), rtol=1e-4, atol=1e-5)
    assert vars(dense).keys() | {"bias_k", "bias_v"} == vars(plain).keys() | {"bias_k", "bias_v"}
    assert (dense.training, dense.dropout, dense.batch_first) == (False, 0.25, True)
    sources = [torch.randn(2, 5, size) for size in (E, plain.kdim, plain.vdim)]
    spectral(*sources), dense(*sources)
    assert len(seen) == 2


def test_the_constructor_makes_what_reparameterize_makes():
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(E, HEADS, kdim=6)
    made = layers.MultiheadAttention(E, HEADS, kdim=6, spec=STTP(3), generator=source())
    assert list(made.state_dict()) == list(reparameterize(plain, STTP(3), generator=source()).state_dict())
    with pytest.raises(TypeError, match="spec must be"):
        layers.MultiheadAttention(E, HEADS, spec="sttp")


@every_attention
def test_shared_and_tied_attention_stays_so(attention, tmp_path):
    def network():
        torch.manual_seed(0)
        shared, tied = nn.MultiheadAttention(E, HEADS), nn.MultiheadAttention(E, 2 * HEADS)
        tied.in_proj_weight = shared.in_proj_weight
        return nn.ModuleDict({"a": shared, "b": nn.ModuleList([shared]), "c": tied})

    spectral = reparameterize(network(), spec_of(attention))
    assert spectral["a"] is spectral["b"][0]
    names = ("in_proj",) if attention == "joint" else ("q_proj", "k_proj", "v_proj")
    for name in names:
        assert getattr(spectral["a"], name).spectral is getattr(spectral["c"], name).spectral
    assert len(report(spectral).layers) == len(names) + 2
    dense = decompress(spectral)
    assert dense["a"] is dense["b"][0]
    assert dense["a"].in_proj_weight is dense["c"].in_proj_weight
    save(spectral, tmp_path)
    loaded = load(network(), tmp_path)
    assert loaded["a"] is loaded["b"][0]
    torch.testing.assert_close(loaded.state_dict(), spectral.state_dict(), rtol=0, atol=0)


def test_weights_tied_to_attention_are_followed_or_refused():
    def network():
        built = nn.ModuleList([nn.MultiheadAttention(E, HEADS), nn.Linear(E, 3 * E)])
        built[1].weight = built[0].in_proj_weight
        return built

    joint = reparameterize(network(), spec_of("joint"))
    assert joint[0].in_proj.spectral is joint[1].spectral
    dense = decompress(joint)
    assert dense[0].in_proj_weight is dense[1].weight
    refused = network()
    with pytest.raises(ValueError, match=r"'0\.q_proj', '1' share a weight but read it as different matrices"):
        reparameterize(refused, spec_of("separate"))
    with pytest.raises(ValueError, match=r"the weight of '0\.in_proj' is also '1\.weight'"):
        reparameterize(refused, spec_of("joint"), skip="1")
    assert type(refused[0]) is nn.MultiheadAttention


@every_attention
def test_skipped_and_frozen_attention(attention):
    network = nn.ModuleDict({"first": nn.MultiheadAttention(E, HEADS), "second": nn.MultiheadAttention(E, HEADS)})
    network["second"].in_proj_weight.requires_grad_(False)
    with torch.no_grad():
        reparameterize(network, spec_of(attention), skip="first")
    assert type(network["first"]) is nn.MultiheadAttention
    trained = {name.split(".")[1]: p.requires_grad for name, p in network["second"].named_parameters(prefix="x")}
    assert {name: on for name, on in trained.items() if name.endswith("_proj")} == {
        **dict.fromkeys(("in_proj",) if attention == "joint" else ("q_proj", "k_proj", "v_proj"), False),
        "out_proj": True,
    }
    dense = decompress(network)["second"]
    assert not dense.in_proj_weight.requires_grad
    assert dense.out_proj.weight.requires_grad
    assert {tensor.name for tensor in report(network).left_dense} == {"first.in_proj_weight", "first.out_proj.weight"}


def test_attention_is_compiled_in_one_graph():
    torch.manual_seed(0)
    spectral = reparameterize(nn.MultiheadAttention(E, HEADS, batch_first=True), SPECS["separate"])
    x = torch.randn(2, 5, E, generator=source())
    torch._dynamo.reset()
    compiled = torch.compile(spectral, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, x, x), spectral(x, x, x), rtol=1e-5, atol=1e-6)
