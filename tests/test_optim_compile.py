"""Optimizers under torch.compile: the kernel as one graph, and the step as it is."""

import geoopt
import pytest
import torch
from torch import nn

from sttp.layers import STTP, Riemannian, reparameterize
from sttp.manifolds import Embedded, Grassmann, Stiefel, haar_frame
from sttp.optim import RiemannianAdam, RiemannianSGD

KINDS = [
    pytest.param(RiemannianAdam, {"lr": 0.1, "amsgrad": True}, id="adam"),
    pytest.param(RiemannianAdam, {"lr": torch.tensor(0.1)}, id="adam-tensor-lr"),
    pytest.param(RiemannianSGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, id="sgd"),
]


def trained(kind, options, how: str) -> list[torch.Tensor]:
    torch.compiler.reset()
    generator = torch.Generator().manual_seed(0)
    manifolds = [Stiefel(), Stiefel(), Grassmann()]
    parameters: list[nn.Parameter] = [
        geoopt.ManifoldParameter(haar_frame(6, 2, generator=generator), manifold=manifold) for manifold in manifolds
    ]
    parameters.append(nn.Parameter(torch.ones(3)))
    optimizer = kind(parameters, **options)
    if how == "kernel":
        optimizer.compile(backend="aot_eager", fullgraph=True)
    step = torch.compile(optimizer.step, backend="aot_eager") if how == "step" else optimizer.step
    for _ in range(4):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        step()
    return [parameter.detach().clone() for parameter in parameters]


@pytest.mark.parametrize("how", ["kernel", "step"])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_compiled_optimizer_gives_the_same_numbers(kind, options, how):
    for one, other in zip(trained(kind, options, how), trained(kind, options, "eager"), strict=True):
        torch.testing.assert_close(one, other)


def test_whole_weights_under_the_embedded_metric_compile_too():
    ends = []
    for compiled in (False, True):
        torch.compiler.reset()
        spec = STTP(rank=3, frames=Riemannian(redundant=False, metric=Embedded(damping=1e-2)))
        network = reparameterize(nn.Linear(8, 12, bias=False), spec, generator=torch.Generator().manual_seed(0))
        optimizer = RiemannianAdam(network.parameters(), lr=0.1)
        if compiled:
            optimizer.compile(backend="aot_eager", fullgraph=True)
        inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
        for _ in range(3):
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()
        ends.append(network(inputs).detach())
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-5)
