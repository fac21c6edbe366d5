"""Fits on calibration data: the second moments are those of what layers are given, errors those of outputs."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sttp.layers import STTP, SVDP, WeightShape, candidates, load, ranks_for, reparameterize, report, save
from sttp.layers._calibration import Calibration
from sttp.layers._patches import input_vectors

settings.register_profile("calibration", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("calibration")


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 8), nn.BatchNorm1d(8)).double()


def vectors(number=3, seed=1):
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, dtype=torch.float64, generator=source) * torch.logspace(0, -3, 12).double()
    return [torch.randn(30, 12, dtype=torch.float64, generator=source) @ mixing.mT for _ in range(number)]


CONVOLUTIONS = [
    (nn.Conv1d(3, 4, 3, stride=2, padding=1), (2, 3, 9)),
    (nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(2, 1)), (2, 4, 5, 6)),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", groups=2), (2, 4, 5, 6)),
    (nn.Conv3d(2, 3, 2, stride=(1, 2, 1)), (2, 3, 4, 3)),  # without a batch
    (nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1, output_padding=1), (2, 3, 5)),
    (nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), padding=(2, 0), dilation=(1, 2), groups=2), (2, 4, 5, 4)),
    (nn.ConvTranspose3d(2, 4, 2, stride=2), (1, 2, 2, 3, 2)),
]


@pytest.mark.parametrize(("layer", "size"), CONVOLUTIONS, ids=lambda value: str(value)[:40])
def test_patches_times_the_matrix_of_the_weight_are_the_outputs(layer, size):
    layer = copy.deepcopy(layer).double()
    inputs = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    output = layer(inputs).detach() - layer.bias.detach().reshape(-1, *(1,) * len(layer.kernel_size))
    batched = output if inputs.dim() == len(layer.kernel_size) + 2 else output.unsqueeze(0)
    matrix = WeightShape.of(layer).to_matrix(layer.weight.detach())
    patches = torch.cat(list(input_vectors(layer, inputs)))
    groups = layer.groups
    blocks = patches.reshape(len(batched), groups, -1, patches.shape[1])
    products = torch.einsum("bgpc,gkc->bgkp", blocks, matrix.reshape(groups, -1, matrix.shape[1]))
    torch.testing.assert_close(products.reshape(batched.shape), batched, atol=1e-12, rtol=0)


def test_moments_are_those_of_what_the_layers_are_given():
    layers, data = perceptron(), vectors()
    state = copy.deepcopy(layers.state_dict())
    metrics = Calibration(layers, candidates(layers), iter(data)).metrics()
    hidden = [layers[:2](batch).detach() for batch in data]  # dropout is off
    for metric, given_ in zip(metrics, (torch.cat(data), torch.cat(hidden)), strict=True):
        moment = (given_.mT @ given_).numpy()
        np.testing.assert_allclose(
            metric.moment, moment + 1e-4 * np.trace(moment) / len(moment) * np.eye(len(moment)), rtol=1e-10
        )
    assert layers.training
    assert all(torch.equal(value, state[name]) for name, value in layers.state_dict().items())
    assert not any(module._forward_pre_hooks for module in layers.modules())


def output_error(layers, name, dense, data):
    """Return the relative error of the outputs of one layer on what the dense network gives it."""
    inputs = torch.cat([dense[: int(name)].eval()(batch) for batch in data])
    difference = inputs @ (dense[int(name)].weight - layers[int(name)].weight).mT
    return float((difference.norm() / (inputs @ dense[int(name)].weight.mT).norm()).detach())


@given(st.sampled_from([SVDP(2), SVDP(5), STTP(2), STTP(4), STTP(3, modes="balanced")]), st.integers(0, 1000))
def test_calibrated_errors_are_never_above_the_plain_ones_and_are_those_of_the_outputs(spec, seed):
    data = vectors(seed=seed)
    plain = reparameterize(perceptron(), spec, init="weights")
    fitted = reparameterize(perceptron(), spec, init="weights", calibration=data)
    metrics = Calibration(perceptron(), candidates(perceptron()), data).metrics()
    for name, metric in zip(("0", "3"), metrics, strict=True):
        weight = perceptron()[int(name)].weight.detach()
        errors = [
            float(metric.norm(weight - layers[int(name)].weight.detach()) / metric.norm(weight))
            for layers in (fitted, plain)
        ]
        assert errors[0] <= errors[1] * (1 + 1e-9)
        np.testing.assert_allclose(fitted[int(name)].spectral.calibrated_error, errors[0], rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(output_error(fitted, name, perceptron(), data), errors[0], rtol=0.02, atol=1e-2)
        if isinstance(spec, SVDP):  # Eckart and Young
            assert fitted[int(name)].spectral.fit_error >= plain[int(name)].spectral.fit_error * (1 - 1e-9)


def test_directions_that_no_input_has_cost_nothing():
    """Inputs in three dimensions need rank 3, whatever the weight."""
    layer, source = nn.Linear(12, 12, bias=False).double(), torch.Generator().manual_seed(0)
    basis = torch.randn(3, 12, dtype=torch.float64, generator=source)
    data = [torch.randn(20, 3, dtype=torch.float64, generator=source) @ basis]
    fitted = reparameterize(copy.deepcopy(layer), SVDP(3), init="weights", calibration=data)
    plain = reparameterize(copy.deepcopy(layer), SVDP(3), init="weights")
    expected = layer(data[0])
    assert (fitted(data[0]) - expected).norm() < 1e-2 * expected.norm()
    assert (plain(data[0]) - expected).norm() > 0.1 * expected.norm()


def test_sequential_layers_see_the_outputs_of_the_fitted_ones():
    data, spec = vectors(), SVDP(2)
    fitted = reparameterize(perceptron(), spec, init="weights", calibration=iter(data), order="sequential")
    half = reparameterize(perceptron(), spec, skip=("3",), init="weights", calibration=data)
    torch.testing.assert_close(half[0].weight, fitted[0].weight)
    last = reparameterize(half, spec, init="weights", calibration=data)
    torch.testing.assert_close(last[3].weight, fitted[3].weight)


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.head = nn.Linear(8, 20, bias=False)

    def forward(self, tokens, mask=None):
        return self.head(self.encoder(self.embedding(tokens), src_key_padding_mask=mask))


def sentences():
    tokens = torch.randint(0, 20, (3, 4, 6), generator=torch.Generator().manual_seed(2)) ** 2 // 20
    return [{"tokens": batch, "mask": batch == 19} for batch in tokens]


@pytest.mark.parametrize("attention", ["separate", "joint"])
@pytest.mark.parametrize("order", ["parallel", "sequential"])
def test_attention_and_embeddings_are_calibrated(attention, order, tmp_path):
    spec = STTP(3, attention=attention)
    layers = reparameterize(Attentive(), spec, init="weights", calibration=sentences(), order=order)
    rows = {row.name: row for row in report(layers).layers}
    assert all(0 < row.calibrated_error < 1 for row in rows.values())
    assert ("encoder.layers.0.self_attn.in_proj" in rows) == (attention == "joint")
    assert "encoder.layers.1.self_attn.out_proj" in rows
    assert "calibrated" in str(report(layers))
    save(layers, tmp_path)
    assert report(load(Attentive(), tmp_path)).to_dict() == report(layers).to_dict()


def test_embeddings_are_near_where_the_indices_are():
    layer = nn.Embedding(24, 8, padding_idx=3).double()
    tokens = torch.tensor([1, 1, 2, 5, 3, 3, 3, 3])
    fitted = reparameterize(copy.deepcopy(layer), SVDP(3), init="weights", calibration=[tokens])
    counts = np.bincount(tokens[:4], minlength=24)  # without padding, which has a row of its own
    scale = np.sqrt(counts + 0.3 * counts.mean())[:, None]
    left, values, right = np.linalg.svd(scale * layer.weight.detach().numpy(), full_matrices=False)
    best = torch.from_numpy((left[:, :3] * values[:3]) @ right[:3] / scale)
    torch.testing.assert_close(fitted.spectral.weight(), best)
    trains = reparameterize(copy.deepcopy(layer), STTP(3), init="weights", calibration=[tokens])
    plain = reparameterize(copy.deepcopy(layer), STTP(3), init="weights")
    assert (trains(tokens) - layer(tokens)).norm() < (plain(tokens) - layer(tokens)).norm()


@pytest.mark.parametrize("kind", [SVDP, STTP])
def test_tolerances_are_those_of_the_calibration_metric(kind):
    data = vectors()
    for tolerance in (0.3, 0.05):
        fitted = reparameterize(perceptron(), kind(tolerance=tolerance), init="weights", calibration=data)
        assert all(row.calibrated_error <= tolerance for row in report(fitted).layers)
        plain = reparameterize(perceptron(), kind(tolerance=tolerance), init="weights")
        assert report(fitted).dof < report(plain).dof  # the data have few directions


@pytest.mark.parametrize("kind", [SVDP, STTP])
def test_budgets_go_by_the_calibration_metric(kind):
    data, z = vectors(), 60.0
    ranks = ranks_for(perceptron(), kind(1), z=z, calibration=data)
    own = reparameterize(perceptron(), kind(ranks), init="weights", calibration=data)
    assert report(own).z <= z
    plain = kind(ranks_for(perceptron(), kind(1), z=z))
    other = reparameterize(perceptron(), plain, init="weights", calibration=data)
    errors = [sum(row.calibrated_error**2 for row in report(layers).layers) for layers in (own, other)]
    assert errors[0] <= errors[1]


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize(
    ("error", "make", "calibration", "words"),
    [
        (ValueError, perceptron, [], ["calibration", "no batches"]),
        (ValueError, perceptron, [torch.ones(2, 5).double()], ["calibration", "number 0", "refuses"]),
        (ValueError, perceptron, [*vectors(1), torch.full((2, 12), float("nan")).double()], ["layer '0'", "NaN"]),
        (TypeError, perceptron, [3], ["calibration", "3"]),
        (TypeError, perceptron, 3, ["calibration", "3"]),
        (TypeError, perceptron, torch.ones(2, 12).double(), ["calibration", "list"]),
        (ValueError, perceptron, [{"wrong": torch.ones(2, 12).double()}], ["calibration", "wrong"]),
        (ValueError, Branches, [torch.ones(2, 4)], ["'unused'", "skip"]),
    ],
)
@pytest.mark.parametrize("order", ["parallel", "sequential"])
def test_wrong_data_are_refused_and_change_nothing(error, make, calibration, words, order):
    layers = make()
    before = {name: type(module) for name, module in layers.named_modules()}
    with pytest.raises(error) as caught:
        reparameterize(layers, SVDP(2), init="weights", calibration=calibration, order=order)
    assert all(word in str(caught.value) for word in words)
    assert {name: type(module) for name, module in layers.named_modules()} == before
    assert torch.backends.mha.get_fastpath_enabled()


def test_calibration_without_fits_and_unknown_orders_are_refused():
    with pytest.raises(ValueError, match=r"calibration is for fits.*init='weights'"):
        reparameterize(perceptron(), SVDP(2), calibration=vectors())
    with pytest.raises(ValueError, match=r"order must be one of 'parallel', 'sequential', got 'random'"):
        reparameterize(perceptron(), SVDP(2), init="weights", calibration=vectors(), order="random")
