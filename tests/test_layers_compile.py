"""Compiled and exported networks: torch's default compiler, sizes that vary, and programs for other machines."""

import pytest
import torch
from torch import nn
from trains import GEOMETRIES, generator

from sttp.layers import STTP, Haar, reparameterize

pytestmark = pytest.mark.filterwarnings(  # torch.compile calls its own old ways
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*TF32:UserWarning"
)


def spec(geometry, **options):
    return STTP(rank=4, frames=GEOMETRIES[geometry], initialization=Haar(), **options)


def of_all_geometries():
    """Return a network with a layer of each geometry, so that one compilation shows them all."""
    torch.manual_seed(0)
    first, *others = GEOMETRIES
    layers = [
        reparameterize(nn.Conv2d(2, 6, 3), spec(name, forward="factors"), generator=generator())
        if name == first
        else reparameterize(nn.Linear(24, 24), spec(name), generator=generator())
        for name in (first, *others)
    ]
    return nn.Sequential(layers[0], nn.Flatten(), *layers[1:], nn.Linear(24, 3))


def outcome(call, network, input):
    output = call(input)
    return output, torch.autograd.grad(output.square().sum(), list(network.parameters()))


def test_the_default_compiler_agrees_with_eager_in_all_geometries():
    network = of_all_geometries()
    input = torch.randn(5, 2, 4, 4, generator=generator())
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True)
    torch.testing.assert_close(
        outcome(compiled, network, input), outcome(network, network, input), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("geometry", ["stiefel", "householder-reduced"])
def test_sizes_that_vary_compile_once_more_and_not_again(geometry):
    torch.manual_seed(0)
    network = reparameterize(nn.Sequential(nn.Linear(24, 16), nn.Tanh()), spec(geometry), generator=generator())
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend=count)
    for number in (8, 3, 5, 40, 700, 5000):
        input = torch.randn(number, 24, generator=generator())
        torch.testing.assert_close(compiled(input), network(input))
    assert len(graphs) <= 2
