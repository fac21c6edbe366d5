"""Convolutions of inputs in torch's channels_last memory format, against their namesakes with the same weight."""

import pytest
import torch
from torch import nn
from trains import GEOMETRIES, generator

from sttp import layers
from sttp.layers import SVDP, Haar

# One channel is where strides do not tell the formats apart.
CASES = [
    (name, channels, options)
    for name in ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
    for channels, options in ((1, {}), (4, {"stride": 2, "groups": 2}))
]


@pytest.mark.parametrize("geometry", ["stiefel", "householder"])
@pytest.mark.parametrize("forward", ["dense", "factors"])
@pytest.mark.parametrize(("name", "channels", "options"), CASES)
def test_outputs_and_gradients_are_those_of_the_namesake(name, channels, options, forward, geometry):
    torch.manual_seed(0)
    spec = SVDP(2, frames=GEOMETRIES[geometry], initialization=Haar(), forward=forward)
    layer = getattr(layers, name)(channels, 16, 3, **options, spec=spec, generator=generator())
    namesake = getattr(nn, name)(channels, 16, 3, **options)
    namesake.load_state_dict({"weight": layer.weight.detach(), "bias": layer.bias.detach()})
    dimensions = int(name[-2])
    # torch has no such format in one dimension: the same strides by hand.
    input = torch.randn(2, *(6,) * dimensions, channels, generator=generator()).movedim(-1, 1).requires_grad_()
    expected = namesake(input)
    gradient = torch.randn(expected.shape, generator=generator())
    found = layer(input)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    of_input, of_bias, *of_frames = torch.autograd.grad(
        found, [input, layer.bias, *layer.spectral.parameters()], gradient
    )
    namesake_input, namesake_bias, of_weight = torch.autograd.grad(
        expected, [input, namesake.bias, namesake.weight], gradient
    )
    torch.testing.assert_close((of_input, of_bias), (namesake_input, namesake_bias), rtol=1e-4, atol=1e-4)
    through_weight = torch.autograd.grad(layer.weight, list(layer.spectral.parameters()), of_weight)
    torch.testing.assert_close(tuple(of_frames), through_weight, rtol=1e-3, atol=1e-3)
