"""Linear layers that read the same input, with one weight of all their rows."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sttp.layers import (
    STTP,
    SVDP,
    Householder,
    decompress,
    factorize,
    load,
    ranks_for,
    reparameterize,
    report,
    save,
    spectral_weights,
)
from sttp.optim import RiemannianAdam


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, x):
        weights = torch.softmax(self.query(x) @ self.key(x).mT, dim=-1)
        return x + self.output(weights @ self.value(x))


class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(width, 12), nn.Linear(width, 20), nn.Linear(20, width)

    def forward(self, x):
        return self.down(nn.functional.pad(torch.sigmoid(self.gate(x)), (0, 8)) * self.up(x))


def network():
    torch.manual_seed(0)
    return nn.Sequential(Attention(8, 2), Gated(8), Attention(8, 2)).double()


JOINT = ("*.[qkv]*", "1.[gu]*")
DATA = torch.randn(4, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
every_spec = pytest.mark.parametrize(
    "spec", [SVDP(4), STTP(4), STTP(4, modes="balanced", frames=Householder(redundant=False))], ids=str
)


def stack(layers, names):
    return torch.cat([layers.get_submodule(name).weight.detach() for name in names]).numpy()


GROUPS = {
    "0.query": ("0.query", "0.key", "0.value"),
    "1.gate": ("1.gate", "1.up"),
    "2.query": ("2.query", "2.key", "2.value"),
}


def test_svdp_of_a_joint_weight_is_the_best_of_the_stack():
    dense = network()
    fitted = reparameterize(network(), SVDP(4), init="weights", joint=JOINT)
    for names in GROUPS.values():
        left, values, right = np.linalg.svd(stack(dense, names), full_matrices=False)
        np.testing.assert_allclose(stack(fitted, names), (left[:, :4] * values[:4]) @ right[:4], atol=1e-12)
        error = fitted.get_submodule(names[0]).spectral.fit_error
        np.testing.assert_allclose(error, np.sqrt((values[4:] ** 2).sum() / (values**2).sum()), rtol=1e-9)
        assert len({id(fitted.get_submodule(name).spectral) for name in names}) == 1


@every_spec
def test_freedom_is_that_of_the_stack(spec):
    joint, forecast = report(reparameterize(network(), spec, joint=JOINT)), report(network(), spec, joint=JOINT)
    assert joint.to_dict() == forecast.to_dict()
    rows = {row.name: row for row in joint.layers}
    assert (rows["0.query"].rows, rows["1.gate"].rows) == (24, 32)
    assert set(rows) == {"0.query", "0.output", "1.gate", "1.down", "2.query", "2.output"}
    assert joint.dof < report(network(), spec).dof
    assert joint.dense == report(network(), spec).dense
    if isinstance(spec, STTP):
        shape = reparameterize(network(), spec, joint=JOINT)[0].key.spectral.manifold.shape
        assert shape.row_modes[0] == 3  # which of the matrices


@every_spec
@pytest.mark.parametrize("forward", ["auto", "dense", "factors", "cores"])
def test_outputs_are_those_of_dense_and_factored_layers(spec, forward):
    from dataclasses import replace

    layers = reparameterize(network(), replace(spec, forward=forward), init="weights", joint=JOINT).eval()
    dense, factored = decompress(layers), factorize(layers)
    expected = layers(DATA)
    torch.testing.assert_close(dense(DATA), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(factored(DATA), expected, atol=1e-12, rtol=0)
    assert not spectral_weights(dense)
    if isinstance(factored[0].query, nn.Sequential):
        assert factored[0].query[0].weight is factored[0].key[0].weight


@every_spec
def test_saved_loaded_and_trained(spec, tmp_path):
    layers = reparameterize(network(), spec, init="weights", joint=JOINT)
    save(layers, tmp_path)
    again = load(network(), tmp_path)
    torch.testing.assert_close(again(DATA), layers(DATA), atol=0, rtol=0)
    assert again[0].key.spectral is again[0].query.spectral
    assert report(again).to_dict() == report(layers).to_dict()
    copied = copy.deepcopy(again)
    assert copied[0].key.spectral is copied[0].query.spectral is not again[0].query.spectral
    optimizer = RiemannianAdam(again.parameters(), lr=1e-2)
    before = float(again(DATA).square().mean().detach())
    for _ in range(5):
        optimizer.zero_grad()
        again(DATA).square().mean().backward()
        optimizer.step()
    assert float(again(DATA).square().mean().detach()) < before


@pytest.mark.parametrize("order", ["parallel", "sequential"])
@pytest.mark.parametrize("kind", [SVDP, STTP])
def test_joint_weights_are_calibrated_and_share_a_budget(kind, order):
    data = [DATA]
    ranks = ranks_for(network(), kind(1), z=70.0, calibration=data, joint=JOINT)
    fitted = reparameterize(network(), kind(ranks), init="weights", calibration=data, joint=JOINT, order=order)
    assert report(fitted).z <= 70
    plain = reparameterize(network(), kind(ranks), init="weights", joint=JOINT)
    errors = []
    for layers in (fitted, plain):  # of the first weight, whose inputs no other changes
        difference = torch.tensor(stack(network(), GROUPS["0.query"]) - stack(layers, GROUPS["0.query"]))
        errors.append(float((DATA.reshape(-1, 8) @ difference.mT).norm()))
    assert errors[0] <= errors[1] * (1 + 1e-3)
    assert all(row.calibrated_error is not None for row in report(fitted).layers)


@pytest.mark.parametrize(
    ("error", "joint", "words"),
    [
        (ValueError, "*.nothing", ["joint='*.nothing'", "matches no layer"]),
        (ValueError, "0.query", ["joint='0.query'", "alone in its module"]),
        (ValueError, ("0.[qk]*", "0.[kv]*"), ["'0.key'", "'0.[qk]*'"]),
        (ValueError, "1.*", ["'1.gate', '1.up', '1.down'", "different sizes"]),
        (TypeError, 3, ["joint", "3"]),
        (TypeError, (3,), ["pattern of joint", "3"]),
    ],
)
def test_wrong_patterns_are_refused_and_change_nothing(error, joint, words):
    layers = network()
    with pytest.raises(error) as caught:
        reparameterize(layers, SVDP(2), init="weights", joint=joint)
    assert all(word in str(caught.value) for word in words)
    assert type(layers[0].query) is nn.Linear


def test_what_is_no_linear_layer_is_not_joined():
    pair = nn.Sequential(nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 3))
    with pytest.raises(ValueError, match=r"'0', a Conv1d; only linear layers"):
        reparameterize(pair, SVDP(2), joint="*")
    with pytest.raises(ValueError, match="use attention='joint'"):
        reparameterize(nn.MultiheadAttention(8, 2), SVDP(2), joint="*")


def test_a_part_of_a_joint_weight_cannot_be_fitted_alone():
    layers = reparameterize(network(), SVDP(4), init="weights", joint=JOINT)
    with pytest.raises(ValueError, match="cannot be fitted alone"):
        layers[0].key.weight = torch.zeros(8, 8, dtype=torch.float64)
