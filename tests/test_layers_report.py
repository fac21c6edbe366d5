"""Counts of a network's degrees of freedom, and the rank that fits a budget."""

import json
import math
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from sttp.layers import STTP, SVDP, Identity, rank_for, reparameterize, report


def network():
    shared = nn.Linear(6, 6)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(12, 6), shared, shared)


# Bias of the convolution, weight, bias, mean and variance of the normalization, two more biases.
KEPT = 8 + 4 * 8 + 6 + 6


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_rank_two_svd_counted_by_hand(device):
    with torch.device(device):
        built = network()
    found = report(built, SVDP(rank=2))
    dof = [2 * (8 + 27 - 2), 2 * (6 + 12 - 2), 2 * (6 + 6 - 2)]
    assert [layer.name for layer in found.layers] == ["0", "3", "4"]
    assert [layer.dof for layer in found.layers] == dof
    assert [(layer.rows, layer.columns) for layer in found.layers] == [(8, 27), (6, 12), (6, 6)]
    assert [layer.rank for layer in found.layers] == [2, 2, 2]
    assert (found.dof, found.dense, found.kept) == (sum(dof), 8 * 27 + 72 + 36, KEPT)
    assert found.z == pytest.approx(100 * (sum(dof) + KEPT) / (8 * 27 + 72 + 36 + KEPT))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("skip", [(), "0", ("4", "5")])
@pytest.mark.parametrize("spec", [STTP(rank=3), SVDP(rank=2, spectrum=Identity())], ids=["sttp", "svdp"])
def test_forecast_is_what_reparameterization_gives(spec, skip, device):
    with torch.device(device):
        forecast = report(network(), spec, skip)
        made = report(reparameterize(network(), spec, skip=skip))
    assert made.to_dict() == forecast.to_dict()


def test_report_is_a_table_and_json():
    found = report(reparameterize(network(), SVDP(rank=2), init="weights"))
    assert json.loads(json.dumps(found.to_dict()))["z"] == found.z
    assert set(found.to_dict()) == {"z", "dof", "dense", "kept", "layers", "left_dense"}
    assert 0 < found.layers[0].fit_error < 1
    lines = str(found).splitlines()
    assert len(lines) == 1 + 3 + 3
    assert all(len(line) == len(lines[0]) for line in lines)
    assert f"{found.z:.3f}" in lines[-1]


def test_a_notebook_shows_the_table_with_names_as_text():
    counted = report(nn.Sequential(OrderedDict({"<b>&": nn.Linear(8, 6)})), STTP(rank=2))
    html = counted._repr_html_()
    assert html.count("<tr>") == len(str(counted).splitlines())
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html


def test_padding_row_of_an_embedding_is_part_of_its_weight():
    plain, padded = (
        report(reparameterize(nn.Sequential(nn.Embedding(8, 4, padding_idx=index)), SVDP(rank=2)))
        for index in (None, 3)
    )
    assert plain.to_dict() == padded.to_dict()
    assert plain.kept == 0


def test_dense_networks_have_nothing_to_count():
    with pytest.raises(ValueError, match=r"network has no spectral layer: Sequential is dense; pass spec="):
        report(network())
    with pytest.raises(ValueError, match="network has nothing to reparameterize"):
        report(nn.ReLU(), SVDP(rank=2))
    with pytest.raises(ValueError, match="network has nothing to reparameterize"):
        rank_for(nn.ReLU(), 50, SVDP(rank=2))


@pytest.mark.parametrize("z", [45.0, 60.0, 90.0, 1000.0])
@pytest.mark.parametrize(
    "spec",
    [STTP(rank=1), SVDP(rank=7), SVDP(rank=1, spectrum=Identity())],
    ids=["sttp", "svdp", "svdp-identity"],
)
def test_rank_for_a_budget_is_the_largest_that_fits(spec, z):
    def z_of(rank):
        return report(network(), type(spec)(rank=rank, spectrum=spec.spectrum), skip="3").z

    found = rank_for(network(), z, spec, skip="3")
    assert z_of(found) <= z
    assert all(z_of(rank) > z for rank in range(found + 1, 9))


def test_rank_for_a_budget_where_more_rank_has_less_freedom():
    square = nn.Linear(32, 32, bias=False)
    frames = SVDP(rank=1, spectrum=Identity())
    # 32 orthonormal rows have 32·31/2 degrees of freedom, fewer than 25 have.
    assert rank_for(square, 50.0, frames) == 32


@pytest.mark.parametrize("z", [1.0, float("nan"), -5.0])
def test_budget_below_every_rank_is_refused(z):
    with pytest.raises(ValueError, match=r"z must be (at least \d+\.\d{4} .*|finite and above 0,) got"):
        rank_for(network(), z, STTP(rank=1))


def test_errors_of_fits_are_shown_where_there_are_any():
    fresh = reparameterize(network(), SVDP(rank=2), skip="0")
    assert "fit error" not in str(report(fresh))
    mixed = report(reparameterize(fresh, SVDP(rank=2), init="weights"))
    errors = {layer.name: layer.fit_error for layer in mixed.layers}
    assert set(errors) == {"0", "3", "4"}
    assert [errors["3"], errors["4"]] == [None, None]
    line = next(line for line in str(mixed).splitlines() if line.startswith("0"))
    assert f"{errors['0']:.4g}" in line


@pytest.mark.parametrize("spec", [STTP(rank=3), SVDP(rank=2)], ids=["sttp", "svdp"])
def test_what_is_spectral_by_now_counts_in_a_forecast(spec):
    half = reparameterize(network(), SVDP(rank=1), skip=("3", "4", "5"))
    forecast, rank = report(half, spec), rank_for(half, 45.0, spec)
    assert forecast.to_dict() == report(reparameterize(half, spec, inplace=False)).to_dict()
    assert report(half, type(spec)(rank)).z <= 45.0 < report(half, type(spec)(rank + 1)).z


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(4, 3))
        self.gain = nn.Parameter(torch.zeros(3))


def test_every_weight_that_stays_dense_is_named():
    parts = {
        "bilinear": nn.Bilinear(3, 4, 5),
        "lstm": nn.LSTM(4, 2),
        "gru": nn.GRUCell(4, 2),
        "bag": nn.EmbeddingBag(6, 3),
        "own": Own(),
        "again": nn.Linear(4, 4),
        "norm": nn.BatchNorm1d(4),
        "lazy": nn.LazyLinear(5),
    }
    built = nn.ModuleDict({**parts, "linear": nn.Linear(6, 6)})
    built["other"] = parts["again"]
    dense = {
        "bilinear.weight": (5, 3, 4),
        "lstm.weight_ih_l0": (8, 4),
        "lstm.weight_hh_l0": (8, 2),
        "gru.weight_ih": (6, 4),
        "gru.weight_hh": (6, 2),
        "bag.weight": (6, 3),
        "own.table": (4, 3),
        "again.weight": (4, 4),
        "lazy.weight": None,
        "lazy.bias": None,
    }
    forecast = report(built, SVDP(rank=2), skip=("again", "other"))
    for found in (forecast, report(reparameterize(built, SVDP(rank=2), skip=("again", "other")))):
        assert {tensor.name: tensor.shape for tensor in found.left_dense} == dense
        assert all(tensor.numel == (math.prod(tensor.shape) if tensor.shape else 0) for tensor in found.left_dense)
        assert all(name in str(found) for name in dense)
        assert json.loads(json.dumps(found.to_dict()))["left_dense"][0]["name"] == "bilinear.weight"
    parameters = [p for p in built.parameters() if not is_lazy(p)]
    inside = sum(p.numel() for p in built["linear"].spectral.parameters())
    assert found.kept == sum(p.numel() for p in parameters) - inside + 2 * 4  # with mean and variance of the norm
