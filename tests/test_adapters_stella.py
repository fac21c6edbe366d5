"""StelLA: the spectrum of S, bases that are gauge, and the published steps."""

import pytest
import torch
from adapter_networks import linear, the_layer
from torch import nn

from sttp.adapters import AsPublished, StelLA, adapt, published_optimizer
from sttp.optim import Retracted


@pytest.mark.parametrize("diagonal", [True, False])
def test_stella_has_the_spectrum_of_s(diagonal):
    network = adapt(linear(), StelLA(3, alpha=6, diagonal=diagonal, start=AsPublished()))
    change = the_layer(network).changes["default"]
    with torch.no_grad():
        change.S.normal_()
    optimizer = published_optimizer(StelLA(3), network, lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(4, 8, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    expected = change.S.abs().sort(descending=True).values if diagonal else torch.linalg.svdvals(change.S)
    assert torch.allclose(torch.linalg.svdvals(change.update())[:3], 2 * expected, atol=1e-12)


def test_steps_of_stella_do_not_depend_on_the_bases_of_its_frames():
    torch.manual_seed(0)
    P, Q = (torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0] for _ in range(2))
    target, reached = torch.randn(12, 8, dtype=torch.float64), []
    for turned in (False, True):
        network = adapt(linear(), StelLA(3, start=AsPublished()), generator=torch.Generator().manual_seed(2))
        layer = the_layer(network)
        change = layer.changes["default"]
        if turned:
            with torch.no_grad():
                change.U.copy_(change.U @ P)
                change.V.copy_(change.V @ Q)
                change.S.copy_(P.mT @ change.S @ Q)
        before = layer.weight.detach()
        optimizer = Retracted(torch.optim.SGD, change.parameters(), lr=0.02, width=8)
        for _ in range(5):
            optimizer.zero_grad()
            (layer.weight - target).square().sum().backward()
            optimizer.step()
        reached.append(layer.weight.detach())
    assert torch.allclose(*reached, atol=1e-12)
    assert not torch.allclose(reached[0], before, atol=1e-1)


def test_the_published_steps_of_stella_reach_the_best_approximation():
    network = adapt(linear(24, 8), StelLA(3))
    layer = the_layer(network)
    target = torch.randn(24, 8, dtype=torch.float64)
    fixed = layer.matrix(()) - layer.changes["default"].start.update()
    least = torch.linalg.svdvals(target - fixed)[3:].square().sum().detach()
    optimizer = published_optimizer(StelLA(3), network, lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 1e-3, 400)
    for _ in range(400):
        optimizer.zero_grad()
        loss = (layer.weight - target).square().sum()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert torch.allclose(loss.detach(), least, rtol=1e-5)


def test_the_width_of_stella_is_the_commonest_number_of_rows():
    network = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 64), nn.Linear(64, 16))
    adapt(network, StelLA(2))
    assert published_optimizer(StelLA(2), network, lr=1e-3).width == 16
