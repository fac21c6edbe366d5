"""What every adapter owes: identity, counts, gradients, merging, fitting, constraints, files, sums."""

import copy

import geoopt
import pytest
import torch
from adapter_networks import move, trained
from adapter_registry import COLUMNS, ROWS, ROWS_OF_ADAPTERS
from torch import nn
from torch.func import functional_call, jacrev

from sttp.adapters import (
    HRA,
    OFT,
    SODA,
    DoRA,
    LoRTA,
    adapt,
    adapted_layers,
    detach,
    load,
    merge,
    published_optimizer,
    report,
    save,
    switch,
    unmerge,
)
from sttp.layers import STTP, reparameterize
from sttp.manifolds import FrameManifold, orthogonality_error
from sttp.optim import RiemannianAdam

every_adapter = pytest.mark.parametrize("row", ROWS_OF_ADAPTERS, ids=lambda row: row.name)
exact = pytest.mark.parametrize(
    "row", [row for row in ROWS_OF_ADAPTERS if row.adapter.defect is None], ids=lambda row: row.name
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def adapted_linear(row, seed=0):
    torch.manual_seed(seed)
    layer = nn.Linear(COLUMNS, ROWS).double()
    return layer, adapt(nn.Sequential(layer), row.adapter, generator=generator(seed))


def networks():
    torch.manual_seed(0)
    yield nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4)), torch.randn(3, 5, 8), "0"
    yield nn.Sequential(nn.Conv2d(8, 12, 3, groups=2, bias=False)), torch.randn(2, 8, 5, 5), "0"
    yield nn.Sequential(nn.ConvTranspose2d(12, 8, 2, stride=2, groups=2)), torch.randn(2, 12, 3, 3), "0"
    yield nn.Sequential(nn.Embedding(12, 8, padding_idx=0)), torch.tensor([[0, 3, 3], [11, 1, 0]]), "0"
    yield nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), torch.randn(2, 3, 8), "self_attn"
    yield (
        reparameterize(nn.Sequential(nn.Linear(8, 12), nn.Conv1d(12, 8, 2)), STTP(4), skip="1", init="weights")[:1],
        torch.randn(3, 8),
        "0",
    )


@exact
def test_the_start_is_the_base(row):
    layer, network = adapted_linear(row)
    vectors = torch.randn(5, COLUMNS, dtype=torch.float64)
    assert torch.allclose(network(vectors), layer(vectors), atol=1e-8)


@every_adapter
def test_a_start_that_is_not_the_base_is_stated(row):
    layer, network = adapted_linear(row)
    (adapted,) = adapted_layers(network).values()
    is_base = torch.allclose(adapted.weight, layer.weight, atol=1e-8)
    assert is_base == (row.adapter.defect is None)
    assert is_base != ("not the identity" in str(report(network)))


@every_adapter
def test_counts_are_the_published_ones_and_the_rank_of_the_jacobian(row):
    _, network = adapted_linear(row)
    assert report(network).stored == sum(p.numel() for p in trained(network)) == row.stored
    assert jacobian_rank(network) == report(network).dimension == row.dimension


@pytest.mark.parametrize(
    "adapter", [OFT(8), HRA(6), SODA((8,)), DoRA(4), LoRTA(2, heads=1, matrices=1), LoRTA(4, heads=2, matrices=1)]
)
def test_the_dimension_is_no_larger_where_the_weight_has_few_rows(adapter):
    torch.manual_seed(0)
    network = adapt(nn.Sequential(nn.Linear(8, 4).double()), adapter)
    assert jacobian_rank(network) == report(network).dimension


def jacobian_rank(network):
    """Return the number of directions in which the one weight moves, at a general point."""
    move(network, 0.05)
    (adapted,) = adapted_layers(network).values()
    change, weight = adapted.changes["default"], adapted.base.weight.detach()
    parameters = {name: p for name, p in change.named_parameters() if p.requires_grad}

    def weight_of(steps):
        points = {name: p.detach() + tangent(p, steps[name]) for name, p in parameters.items()}
        return functional_call(Merged(change), {f"change.{name}": p for name, p in points.items()}, (weight,))

    zeros = {name: torch.zeros_like(p) for name, p in parameters.items()}
    jacobian = torch.cat([part.flatten(2).flatten(0, 1) for part in jacrev(weight_of)(zeros).values()], dim=1)
    return torch.linalg.matrix_rank(jacobian, rtol=1e-9)


def tangent(parameter, step):
    if isinstance(parameter, geoopt.ManifoldParameter):
        return parameter.manifold.proju(parameter.detach(), step)
    return step


class Merged(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, weight):
        return self.change.merged(weight)


@every_adapter
def test_the_gradients_that_vanish_at_the_start(row):
    _, network = adapted_linear(row)
    target = torch.randn(7, ROWS, dtype=torch.float64)
    (network(torch.randn(7, COLUMNS, dtype=torch.float64)) - target).square().sum().backward()
    (adapted,) = adapted_layers(network).values()
    for name, parameter in adapted.changes["default"].named_parameters():
        if parameter.requires_grad:
            assert (parameter.grad is None or parameter.grad.abs().max() < 1e-12) == row.still(name), name
    assert all(p.grad is None for p in adapted.base.parameters())


@every_adapter
@pytest.mark.parametrize("which", range(6))
def test_merged_is_unmerged_and_can_be_undone(row, which):
    network, inputs, of_one_shape = list(networks())[which]
    if row.one_layer and which in (1, 2, 4):
        pytest.skip("no 12 x 8 weight")
    network.double().eval()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    before = copy.deepcopy(network.state_dict())
    plain = network(inputs).detach()
    adapt(network, row.adapter, only=of_one_shape if row.one_shape or row.one_layer else (), generator=generator())
    move(network)
    changed = network(inputs).detach()
    assert not torch.allclose(changed, plain, atol=1e-4)
    for layer in adapted_layers(network).values():
        assert layer.weight.shape == layer.base.weight.shape
    merge(network)
    assert torch.allclose(network(inputs), changed, atol=1e-9)
    unmerge(network)
    assert torch.equal(network(inputs), changed)
    switch(network)
    assert torch.allclose(network(inputs), plain, atol=1e-12)
    detach(network)
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@every_adapter
def test_a_merged_network_is_left_plain(row):
    network, inputs, of_one_shape = next(networks())
    adapt(
        network.double(),
        row.adapter,
        only=of_one_shape if row.one_shape or row.one_layer else (),
        generator=generator(),
    )
    move(network)
    changed = network(inputs.double())
    detach(merge(network))
    assert [type(module) for module in network] == [nn.Linear, nn.Tanh, nn.Linear]
    assert torch.allclose(network(inputs.double()), changed, atol=1e-9)


@every_adapter
def test_a_gauge_moves_the_parameters_and_leaves_the_weight(row):
    _, network = adapted_linear(row)
    move(network)
    (adapted,) = adapted_layers(network).values()
    if row.gauge is None:  # then nothing but the weight can say what the parameters are
        assert sum(freedom(parameter) for parameter in trained(network)) == row.dimension
        return
    weight, before = adapted.weight.detach(), [parameter.detach().clone() for parameter in trained(network)]
    with torch.no_grad():
        row.gauge(adapted.changes["default"])
    assert max((p - start).abs().max() for p, start in zip(trained(network), before, strict=True)) > 0.1
    assert torch.allclose(adapted.weight, weight, atol=1e-10 * float(weight.abs().max()))
    for parameter in trained(network):
        if isinstance(parameter, geoopt.ManifoldParameter):
            assert parameter.manifold.check_point_on_manifold(parameter)


def freedom(parameter):
    if isinstance(parameter, geoopt.ManifoldParameter) and isinstance(parameter.manifold, FrameManifold):
        return parameter.manifold.dimension(parameter.shape)
    return parameter.numel()


@every_adapter
def test_a_reachable_weight_is_found_and_frames_stay_frames(row):
    _, network = adapted_linear(row)
    (adapted,) = adapted_layers(network).values()
    there = copy.deepcopy(network)
    move(there, 0.2)
    target = next(iter(adapted_layers(there).values())).weight.detach()
    optimizer = RiemannianAdam(trained(network), lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, 250)
    first = (adapted.weight - target).detach().square().sum()
    for _ in range(250):
        loss = (adapted.weight - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert (adapted.weight - target).square().sum() < 1e-2 * first
    for parameter in trained(network):
        if isinstance(parameter, geoopt.ManifoldParameter) and isinstance(parameter.manifold, geoopt.Stiefel):
            eye = torch.eye(parameter.shape[-1], dtype=parameter.dtype)
            assert torch.linalg.norm(parameter.mT @ parameter - eye) < 1e-9


@every_adapter
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_for_the_base_and_no_frames(row, dtype):
    torch.manual_seed(0)
    network = adapt(nn.Sequential(nn.Linear(COLUMNS, ROWS).to(dtype)), row.adapter, generator=generator())
    output = network(torch.randn(3, COLUMNS, dtype=dtype))
    output.float().square().sum().backward()
    assert output.dtype == dtype
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in trained(network))
    (adapted,) = adapted_layers(network).values()
    network.float()
    if adapted.changes["default"].has_frames:
        with pytest.raises(TypeError, match=r"'default'.*float32"):
            network.to(dtype)
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    else:
        assert network.to(dtype)(torch.randn(3, COLUMNS, dtype=dtype)).isfinite().all()
    on_manifolds = any(isinstance(p, geoopt.ManifoldParameter) for p in network.parameters())
    assert adapted.changes["default"].has_frames or not on_manifolds


@every_adapter
def test_under_autocast_outputs_are_those_of_the_base_in_its_precision(row):
    torch.manual_seed(0)
    layer = nn.Linear(COLUMNS, ROWS)
    network = adapt(nn.Sequential(layer), row.adapter, generator=generator())
    vectors = torch.randn(3, COLUMNS)
    with torch.autocast("cpu", torch.bfloat16):
        output, plain = network(vectors), layer(vectors)
    assert output.dtype == plain.dtype
    assert row.adapter.defect is not None or torch.allclose(output, plain, atol=0.05)
    output.float().sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in trained(network))


@every_adapter
def test_the_published_optimizer_descends_and_moves_all_that_is_trained(row):
    _, network = adapted_linear(row)
    network.append(nn.Linear(ROWS, 3).double())
    before = [parameter.detach().clone() for parameter in trained(network)]
    inputs, outputs = torch.randn(9, COLUMNS, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64)
    optimizer = published_optimizer(row.adapter, network, lr=1e-2)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (network(inputs) - outputs).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert losses[-1] < losses[0]
    for parameter, start in zip(trained(network), before, strict=True):
        assert not torch.equal(parameter, start)
        if isinstance(parameter, geoopt.ManifoldParameter) and isinstance(parameter.manifold, FrameManifold):
            assert orthogonality_error(parameter) < 1e-9


@every_adapter
def test_saved_loaded_and_continued_is_continued(row, tmp_path):
    _, network = adapted_linear(row)
    base = detach(copy.deepcopy(network))
    move(network)
    save(network, tmp_path)
    again = load(base, tmp_path)
    inputs, outputs = torch.randn(9, COLUMNS, dtype=torch.float64), torch.randn(9, ROWS, dtype=torch.float64)
    for one in (network, again):
        optimizer = RiemannianAdam(trained(one), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (one(inputs) - outputs).square().mean().backward()
            optimizer.step()
    assert torch.equal(network(inputs), again(inputs))


@every_adapter
def test_a_second_adapter_is_summed_or_refused(row):
    _, network = adapted_linear(row)
    adapt(network, row.adapter, name="second", generator=generator(3))
    move(network)
    (adapted,) = adapted_layers(network).values()
    base = adapted.matrix(())
    one, two = (adapted.matrix((name,)) - base for name in ("default", "second"))
    if row.additive:
        switch(network, "default", "second")
        assert torch.allclose(adapted.weight, base + one + two, atol=1e-12)
        vectors = torch.randn(4, COLUMNS, dtype=torch.float64)
        assert torch.allclose(network(vectors), vectors @ adapted.weight.mT + adapted.bias, atol=1e-12)
    else:
        with pytest.raises(ValueError, match="'default'"):
            switch(network, "default", "second")
    switch(network, "second")
    assert torch.allclose(adapted.weight, base + two, atol=1e-12)
