"""Plain parameters: torch.optim's own Adam and SGD are the oracles, to the last bit."""

import functools

import pytest
import torch
from torch import nn
from torch.optim.adam import adam

from sttp.optim import RiemannianAdam, RiemannianSGD
from sttp.optim import _plain_steps as plain_steps

PAIRS = [
    pytest.param(ours, theirs, options, id=f"{theirs.__name__}-{'-'.join(options) or 'default'}")
    for ours, theirs, settings in (
        (
            RiemannianAdam,
            torch.optim.Adam,
            (
                {},
                {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
                {"lr": torch.tensor(0.1)},
                {"weight_decay": 0.3},
                {"maximize": True, "weight_decay": 0.3},
            ),
        ),
        (
            RiemannianSGD,
            torch.optim.SGD,
            (
                {},
                {"lr": torch.tensor(0.1)},
                {"momentum": 0.9},
                {"momentum": 0.9, "dampening": 0.3},
                {"momentum": 0.9, "nesterov": True},
                {"momentum": 0.9, "weight_decay": 0.3, "maximize": True},
                {"weight_decay": 0.3},
            ),
        ),
    )
    for options in settings
]
BOTH = [
    pytest.param(*pair, id=pair[1].__name__)
    for pair in ((RiemannianAdam, torch.optim.Adam), (RiemannianSGD, torch.optim.SGD))
]


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3, dtype=torch.float32))


def loss_of(network: nn.Module, step: int) -> torch.Tensor:
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
    return network(inputs).square().mean()


def train(network: nn.Module, optimizer: torch.optim.Optimizer, scheduler=None, steps: int = 8) -> list[torch.Tensor]:
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(network, step).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return [parameter.detach() for parameter in network.parameters()]


def assert_identical(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    assert first
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS)
def test_plain_parameters_move_as_in_torch(ours, theirs, options):
    networks = make_network(), make_network()
    start = [parameter.detach().clone() for parameter in networks[0].parameters()]
    results = [
        train(net, kind(net.parameters(), **options)) for net, kind in zip(networks, (ours, theirs), strict=True)
    ]
    assert_identical(*results)
    assert all(not torch.equal(a, b) for a, b in zip(start, results[0], strict=True))


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_parameter_groups_and_schedulers_work_as_in_torch(ours, theirs):
    results = []
    for kind in (ours, theirs):
        network = make_network()
        groups = [{"params": network[0].parameters(), "lr": 0.05}, {"params": [network[2].weight], "weight_decay": 0.1}]
        optimizer = kind(groups, lr=0.01)
        optimizer.add_param_group({"params": network[2].bias, "lr": 0.2})
        scheduler = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, total_iters=3),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5),
            ],
            [3],
        )
        results.append((train(network, optimizer, scheduler), scheduler.get_last_lr()))
    assert_identical(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_a_scheduler_that_drives_the_momentum_works_as_in_torch(ours, theirs):
    results = []
    for kind in (ours, theirs):
        network = make_network()
        adaptive = kind in (RiemannianAdam, torch.optim.Adam)
        optimizer = kind(network.parameters(), lr=0.01, **({} if adaptive else {"momentum": 0.9}))
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
        results.append(train(network, optimizer, scheduler))
        assert (optimizer.param_groups[0]["betas"][0] if adaptive else optimizer.param_groups[0]["momentum"]) != 0.9
    assert_identical(*results)


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_named_parameters_keep_their_names(ours, theirs):
    network = make_network()
    states = [kind(network.named_parameters(), lr=0.1).state_dict() for kind in (ours, theirs)]
    names = [name for name, _ in network.named_parameters()]
    assert [state["param_groups"][0]["param_names"] for state in states] == [names, names]


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_gradients_that_come_only_at_some_steps(ours, theirs):
    results = []
    for kind in (ours, theirs):
        network = make_network()
        options = {"lr": 0.1} if kind in (RiemannianAdam, torch.optim.Adam) else {"lr": 0.1, "momentum": 0.9}
        optimizer = kind(network.parameters(), **options)
        for step in range(7):
            optimizer.zero_grad()
            network[2].requires_grad_(step % 2 == 1)
            loss_of(network, step).backward()
            optimizer.step()
        results.append([parameter.detach() for parameter in network.parameters()])
    assert_identical(*results)


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_parameters_of_several_kinds(ours, theirs):
    shapes = {torch.float64: (), torch.bfloat16: (3, 2), torch.float32: (0,), torch.complex64: (2,)}
    results = []
    for kind in (ours, theirs):
        generator = torch.Generator().manual_seed(0)
        parameters = [nn.Parameter(torch.randn(s, dtype=t, generator=generator)) for t, s in shapes.items()]
        optimizer = kind(parameters, lr=0.1)
        for _ in range(4):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
            optimizer.step()
        results.append([parameter.detach() for parameter in parameters])
    assert_identical(*results)


def test_complex_parameters_in_the_form_used_on_a_gpu(monkeypatch):
    """Torch moves lists of parameters at once there, and must be told that some are complex."""
    monkeypatch.setattr(plain_steps, "adam", functools.partial(adam, foreach=True))
    results = []
    for kind, options in ((RiemannianAdam, {}), (torch.optim.Adam, {"foreach": True})):
        generator = torch.Generator().manual_seed(0)
        parameter = nn.Parameter(torch.randn(3, dtype=torch.complex64, generator=generator))
        optimizer = kind([parameter], lr=0.1, **options)
        for _ in range(3):
            parameter.grad = torch.randn(3, dtype=torch.complex64, generator=generator)
            optimizer.step()
        results.append([parameter.detach()])
    assert_identical(*results)


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_hooks_of_torch_run(kind):
    network = make_network()
    optimizer = kind(network.parameters(), lr=0.1)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    train(network, optimizer, steps=2)
    assert calls == ["before", "after"] * 2
