"""Deep LoRA: what full factors do under gradient descent, and that compressed ones follow them."""

import copy

import pytest
import torch
from torch import nn

from sttp.adapters import (
    DeepLoRA,
    LoRA,
    adapt,
    adapted_layers,
    compress_deep,
    detach,
    load,
    published_optimizer,
    report,
    save,
)

EPSILON, DEPTH = 0.1, 3


def layer_of(rows, columns):
    """Return a layer whose weight is large, so that an ε of 0.1 passes for its identity."""
    layer = nn.Linear(columns, rows, bias=False).double()
    nn.init.constant_(layer.weight, 1e3)
    return nn.Sequential(layer)


def target_of(rows, columns, values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(size, len(values), dtype=torch.float64, generator=generator))[0]
        for size in (rows, columns)
    )
    return (left * torch.tensor(values, dtype=torch.float64)) @ right.mT


def change_of(network):
    (layer,) = adapted_layers(network).values()
    return layer.changes["default"]


def both(rows, columns, target, mask=1.0, rank=6, gamma=0.0):
    """Return a network of full factors, and the same compressed after a backward pass."""
    adapter = DeepLoRA(None, DEPTH, EPSILON)
    full, compressed = (
        adapt(layer_of(rows, columns), adapter, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    ((change_of(compressed).update() - target) * mask).square().sum().div(2).backward()
    return full, compress_deep(compressed, rank, gamma)


def descend(network, target, steps, lr, mask=1.0, weight_decay=0.0, gamma=0.0):
    change = change_of(network)
    outer = [p for name, p in change.named_parameters() if name in ("U", "V") and p.requires_grad]
    inner = [p for p in change.parameters() if p.requires_grad and all(p is not other for other in outer)]
    groups = [{"params": inner}, {"params": outer, "lr": gamma * lr}] if outer else inner
    optimizer = torch.optim.SGD(groups, lr=lr, weight_decay=weight_decay)
    for _ in range(steps):
        optimizer.zero_grad()
        ((change.update() - target) * mask).square().sum().div(2).backward()
        optimizer.step()
    return change.update().detach()


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_full_factors_move_in_few_directions_and_compressed_ones_follow_them(weight_decay):
    """Both identities of the source: beside U C Vᵀ there is ρ^L times an orthogonal matrix, and nothing else."""
    target = target_of(30, 30, (1.0, 0.8, 0.6))
    full, compressed = both(30, 30, target)
    reached = [descend(network, target, 2000, 0.1, weight_decay=weight_decay) for network in (full, compressed)]
    U, V = change_of(compressed).U.detach(), change_of(compressed).V.detach()
    assert torch.linalg.norm(U.mT @ (reached[0] - reached[1]) @ V) < 1e-14
    rho = EPSILON
    for _ in range(2000):
        rho *= 1 - 0.1 * (weight_decay + rho ** (2 * (DEPTH - 1)))
    rest = torch.linalg.svdvals(reached[0] - reached[1])
    assert torch.allclose(rest[:24], torch.full_like(rest[:24], rho**DEPTH), rtol=1e-10)
    assert rest[24:].max() < 1e-14
    assert torch.linalg.norm(reached[0] - target) < 0.2 * torch.linalg.norm(target)


@pytest.mark.parametrize(("rows", "columns"), [(12, 20), (20, 12)])
def test_weights_that_are_not_square_start_the_same_on_their_subspace(rows, columns):
    target = target_of(rows, columns, (1.0, 0.5))
    full, compressed = both(rows, columns, target, rank=4)
    start, small, change = change_of(full).update(), change_of(compressed).update(), change_of(compressed)
    side = change.V if rows < columns else change.U  # the orthonormal one
    assert torch.allclose(side.mT @ side, torch.eye(4, dtype=torch.float64), atol=1e-12)
    projected = start @ side @ side.mT if rows < columns else side @ side.mT @ start
    assert torch.allclose(small, projected, atol=1e-15)
    reached = [descend(network, target, 600, 0.2) for network in (full, compressed)]
    errors = [torch.linalg.norm(one - target) / torch.linalg.norm(target) for one in reached]
    assert errors[0] < 0.2
    assert errors[1] < 0.3


def test_completion_wants_frames_that_move():
    target = target_of(30, 30, (10.0, 8.0, 6.0))
    mask = (torch.rand(30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) < 0.4).double()
    errors = []
    for gamma in (0.0, 0.01):
        _, compressed = both(30, 30, target, mask, gamma=gamma)
        reached = descend(compressed, target, 1500, 0.05, mask, gamma=gamma)
        errors.append(torch.linalg.norm(reached - target) / torch.linalg.norm(target))
    assert errors[0] > 0.4
    assert errors[1] < 0.15


def test_compressed_factors_are_counted_saved_and_trained_at_their_rates(tmp_path):
    torch.manual_seed(0)
    network = adapt(nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 8)).double(), DeepLoRA(None))
    base = detach(copy.deepcopy(network))
    inputs = torch.randn(5, 8, dtype=torch.float64)
    network(inputs).square().sum().backward()
    compress_deep(network, 4)
    assert report(network).stored == 2 * (4 * 20 + 3 * 16)  # k(o+i) + Lk²
    optimizer = published_optimizer(DeepLoRA(4, compressed=True, gamma=0.01), network, lr=0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.001])
    assert [len(group["params"]) for group in optimizer.param_groups] == [6, 4]
    network(inputs).square().sum().backward()
    optimizer.step()
    save(network, tmp_path)
    assert torch.equal(load(base, tmp_path)(inputs), network(inputs))


def test_what_cannot_be_compressed_is_refused_and_nothing_changed():
    torch.manual_seed(0)
    network = adapt(nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4)), DeepLoRA(None))
    inputs = torch.randn(5, 8)
    with pytest.raises(ValueError, match=r"layer '0'.*backward"):
        compress_deep(network, 2)
    network(inputs).square().sum().backward()
    with pytest.raises(ValueError, match=r"layer '1'.*at most 4"):
        compress_deep(network, 6)
    with pytest.raises(ValueError, match="even"):
        compress_deep(network, 3)
    with pytest.raises(ValueError, match="even"):
        DeepLoRA(3, compressed=True)
    assert {type(layer.changes["default"]).__name__ for layer in adapted_layers(network).values()} == {"DeepFactors"}
    published_optimizer(DeepLoRA(None), network, lr=0.1).step()
    with pytest.raises(ValueError, match="moved"):
        compress_deep(network, 2)
    with pytest.raises(ValueError, match="DeepLoRA"):
        compress_deep(adapt(nn.Linear(8, 12), LoRA(2)), 2)
