"""Writes to a layer's weight: refused where they would be lost, fitted where a tensor is assigned; and exports."""

import pytest
import torch
from torch import nn
from trains import GEOMETRIES, generator

from sttp.layers import SVDP, Free, Linear


@pytest.mark.parametrize(
    "write",
    [
        nn.init.zeros_,
        nn.init.orthogonal_,
        lambda w: w.data.zero_(),
        lambda w: w[0].fill_(1),
        lambda w: w.add_(1),
        lambda w: w.mT.zero_(),
        lambda w: w.split(2)[0].zero_(),
        lambda w: w.chunk(2)[1].zero_(),
        lambda w: w.unbind()[0].zero_(),
    ],
)
def test_writes_that_would_be_lost_are_refused(write):
    layer = Linear(6, 4, spec=SVDP(2))
    with torch.no_grad(), pytest.raises(RuntimeError, match="would be lost"):
        write(layer.weight)


@pytest.mark.parametrize("kind", [torch.clone, nn.Parameter])
def test_an_assigned_weight_is_fitted(kind):
    layer = Linear(6, 4, spec=SVDP(2, spectrum=Free()))
    target = torch.randn(4, 2, generator=generator()) @ torch.randn(2, 6, generator=generator())
    layer.weight = kind(target)
    torch.testing.assert_close(layer.weight.detach(), target, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("geometry", ["stiefel", "householder"])
def test_an_exported_layer_takes_any_batch(geometry, strict):
    layer = Linear(6, 4, spec=SVDP(2, frames=GEOMETRIES[geometry]))
    sizes = ({0: torch.export.Dim("batch", min=2)},)
    program = torch.export.export(layer, (torch.randn(5, 6),), strict=strict, dynamic_shapes=sizes)
    input = torch.randn(9, 6, generator=generator())
    torch.testing.assert_close(program.module()(input), layer(input))
