"""Ranks, tolerances and modes by patterns of layers' names."""

import pytest
import torch
from torch import nn

from sttp.layers import STTP, SVDP, Householder, load, reparameterize, report, save


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 6)))


def ranks_of(layers):
    return {row.name: row.rank for row in report(layers).layers}


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        ({"0": 4, "*": 2}, {"0": 4, "2.0": 2, "2.1": 2}),
        ({"2": 3, "*": 1}, {"0": 1, "2.0": 3, "2.1": 3}),  # a module stands for all that it contains
        ({"*": 1, "2.1": 5}, {"0": 1, "2.0": 1, "2.1": 5}),  # a layer's own name counts before all patterns
        ({"?.0": 2, "0": 6, "*.1": 3}, {"0": 6, "2.0": 2, "2.1": 3}),
        ({"*": (3,)}, {"0": 3, "2.0": 3, "2.1": 3}),
    ],
)
def test_each_layer_takes_the_rank_of_its_name_or_of_the_first_pattern(rank, expected):
    spec = SVDP(rank=rank)
    assert ranks_of(reparameterize(network(), spec)) == expected
    assert report(network(), spec).to_dict() == report(reparameterize(network(), spec)).to_dict()
    assert hash(spec) == hash(SVDP(rank=dict(rank)))


def test_modes_by_layer():
    modes = {"0": ((2, 4), (3, 4)), "2.0": "balanced", "*": None}
    layers = reparameterize(network(), STTP(rank=3, modes=modes))
    found = {name: layers.get_submodule(name).spectral.manifold.shape for name in ("0", "2.0", "2.1")}
    assert (found["0"].row_modes, found["0"].column_modes) == ((2, 4), (3, 4))
    assert (found["2.0"].row_modes, found["2.0"].column_modes) == ((8,), (8,))
    assert (found["2.1"].row_modes, found["2.1"].column_modes) == ((2, 3), (2, 2, 2))


def test_vocabulary_with_auto_modes_keeps_its_size(tmp_path):
    def made():
        return nn.Sequential(nn.Embedding(2018, 6), nn.Linear(6, 6))  # 2018 = 2 · 1009, and 2025 = 3⁴ · 5²

    torch.manual_seed(0)
    spec = STTP(rank={"0": (3, 6, 6, 6, 6, 4, 2), "1": 2}, modes="auto", frames=Householder(redundant=False))
    layers = reparameterize(made(), spec)
    shape = layers[0].spectral.manifold.shape
    assert (shape.rows, shape.padded_rows, shape.ranks) == (2018, 2025, (1, 3, 6, 6, 6, 6, 4, 2, 1))
    indices = torch.tensor([0, 7, 2017])
    assert layers(indices).shape == (3, 6)
    save(layers, tmp_path)
    again = load(made(), tmp_path)
    assert again[0].spectral.manifold == layers[0].spectral.manifold
    assert torch.equal(again(indices), layers(indices))


def tied():
    layers = nn.ModuleDict({"embedding": nn.Embedding(8, 6), "head": nn.Linear(6, 8, bias=False)})
    layers.head.weight = layers.embedding.weight
    return layers


@pytest.mark.parametrize(
    ("make", "spec", "words"),
    [
        (network, {"rank": {"0": 4}}, ["rank", "no pattern for layer '2.0'", "'*'"]),
        (network, {"rank": {"*": 4, "conv*": 2}}, ["rank", "'conv*'", "none of the layers '0'"]),
        (network, {"rank": {"*": 4, "2.*": 2}}, ["rank", "'2.*'", "put '*' last"]),
        (network, {"rank": {"2.0": (2, 2), "*": 4}}, ["layer '2.0'", "rank", "5 bonds", "(2, 2)"]),
        (tied, {"rank": {"embedding": 2, "head": 3}}, ["rank", "share a weight", "2 for 'embedding'", "3 for 'head'"]),
        (network, {"rank": 2, "modes": {"0": "prime"}}, ["modes", "no pattern for layer '2.0'"]),
    ],
)
def test_patterns_that_do_not_fit_the_network_are_refused_and_change_nothing(make, spec, words):
    layers = make()
    before = {name: type(module) for name, module in layers.named_modules()}
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the words are looked at below
        reparameterize(layers, STTP(**spec))
    assert all(word in str(caught.value) for word in words)
    assert {name: type(module) for name, module in layers.named_modules()} == before


@pytest.mark.parametrize(
    ("error", "spec", "words"),
    [
        (ValueError, {"rank": {}}, ["rank", "'*'"]),
        (TypeError, {"rank": {"*": "4"}}, ["rank", "integer", "'4'"]),
        (TypeError, {"rank": {3: 4}}, ["pattern of rank", "3"]),
        (TypeError, {}, ["rank", "None", "tolerance"]),
        (ValueError, {"rank": 2, "tolerance": 0.0}, ["tolerance", "above 0", "0.0"]),
        (ValueError, {"rank": 2, "tolerance": {"*": 1.5}}, ["tolerance", "below 1", "1.5"]),
        (ValueError, {"rank": 2, "modes": "smooth"}, ["modes", "'auto'", "'smooth'"]),
        (ValueError, {"rank": 2, "modes": {"*": "smooth"}}, ["modes", "'auto'", "'smooth'"]),
        (TypeError, {"rank": 2, "modes": {"*": 3}}, ["modes", "pair", "3"]),
    ],
)
def test_wrong_values_by_layer_are_refused_by_name(error, spec, words):
    with pytest.raises(error) as caught:
        STTP(**spec)
    assert all(word in str(caught.value) for word in words)


def test_a_specification_by_layer_has_no_shape_of_its_own():
    shape = reparameterize(nn.Linear(4, 4), SVDP(rank=2)).spectral.weight_shape
    with pytest.raises(ValueError, match=r"rank is given by layer.*for_layer"):
        STTP(rank={"*": 2}).shape(shape)
    assert STTP(rank={"*": 2}).for_layer(["any"]).shape(shape).center_rank == 2
