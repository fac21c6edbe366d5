"""Each layer against its torch.nn namesake with the same weight: outputs, gradients, printed form."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from trains import GEOMETRIES, generator

from sttp import layers
from sttp.layers import STTP, SVDP, Free, Haar, Householder, Lipschitz, Riemannian

FORWARDS = ("auto", "dense", "factors", "cores")
SPECS = {
    "sttp": STTP(rank=2, frames=Riemannian(), spectrum=Free(), initialization=Haar()),
    "svdp": SVDP(rank=3, frames=Householder(), spectrum=Lipschitz(), initialization=Haar()),
}


def conv(name, shape, *args, **options):
    label = ",".join(f"{key}={value}" for key, value in options.items())
    return pytest.param(name, args, options, shape, id=f"{name}({label})")


# Names, arguments and the shape of an input.
CASES = [
    conv("Linear", (5, 6), 6, 4),
    conv("Linear", (2, 3, 6), 6, 4, bias=False),
    conv("Linear", (6,), 6, 1),
    conv("Conv1d", (2, 4, 9), 4, 6, 3),
    conv("Conv1d", (4, 9), 4, 6, 3, stride=2, padding=1, dilation=2, groups=2),
    conv("Conv1d", (2, 4, 9), 4, 6, 4, padding="same"),
    conv("Conv1d", (2, 4, 9), 4, 6, 3, padding="valid", bias=False),
    conv("Conv1d", (2, 4, 9), 4, 6, 3, padding=2, padding_mode="circular"),
    conv("Conv2d", (2, 4, 7, 8), 4, 6, 3, padding=1),
    conv("Conv2d", (4, 7, 8), 4, 6, 1),
    conv("Conv2d", (2, 4, 7, 8), 4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    conv("Conv2d", (2, 4, 7, 8), 4, 6, (3, 2), padding="same", dilation=2, groups=2),
    conv("Conv2d", (2, 4, 7, 8), 4, 8, 3, padding=1, groups=4, bias=False),
    conv("Conv2d", (2, 4, 7, 8), 4, 6, (3, 2), padding=(2, 1), padding_mode="reflect"),
    conv("Conv2d", (2, 4, 7, 8), 4, 6, 3, padding="same", padding_mode="replicate"),
    conv("Conv2d", (2, 4, 7, 8), 4, 6, 3, padding=1, padding_mode="circular", stride=2),
    conv("Conv3d", (2, 4, 5, 4, 6), 4, 6, (3, 1, 2), padding=1, stride=(1, 2, 1)),
    conv("Conv3d", (4, 5, 4, 6), 4, 6, 2, groups=2),
    conv("ConvTranspose1d", (2, 4, 7), 4, 6, 3),
    conv("ConvTranspose1d", (4, 7), 4, 6, 3, stride=3, padding=1, output_padding=2, groups=2),
    conv("ConvTranspose2d", (2, 4, 5, 6), 4, 6, (3, 2), stride=2, padding=1, output_padding=1, bias=False),
    conv("ConvTranspose2d", (2, 4, 5, 6), 4, 6, 3, dilation=2, groups=2),
    conv("ConvTranspose3d", (2, 4, 3, 4, 5), 4, 6, (2, 1, 3), stride=(2, 1, 1), output_padding=(1, 0, 0)),
    conv("ConvTranspose3d", (4, 3, 4, 5), 4, 6, 2, groups=2),
]


def pair(name, args, options, spec, forward="auto", dtype=torch.float64):
    """Return a spectral layer and its namesake with the same weight and bias."""
    torch.manual_seed(0)
    spec = replace(SPECS[spec], forward=forward)
    layer = getattr(layers, name)(*args, **options, spec=spec, generator=generator(), dtype=dtype)
    namesake = getattr(nn, name)(*args, **options, dtype=dtype)
    with torch.no_grad():
        namesake.weight.copy_(layer.weight)
        if layer.bias is not None:
            namesake.bias.copy_(layer.bias)
    return layer, namesake


def assert_equal_gradients(layer, namesake):
    """Pull the namesake's gradient of W back through W alone, and compare with what the layer's own forward gave."""
    parameters = list(layer.spectral.parameters())
    expected = torch.autograd.grad(layer.weight, parameters, namesake.weight.grad)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad.as_subclass(torch.Tensor), gradient.as_subclass(torch.Tensor))
    if layer.bias is not None:
        torch.testing.assert_close(layer.bias.grad, namesake.bias.grad)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's own, about its copy of the input
@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("name", "args", "options", "shape"), CASES)
def test_outputs_and_gradients_are_the_namesakes(name, args, options, shape, spec, forward):
    layer, namesake = pair(name, args, options, spec, forward)
    inputs = [torch.randn(shape, dtype=torch.float64, generator=generator(1), requires_grad=True) for _ in range(2)]
    output, expected = layer(inputs[0]), namesake(inputs[1])
    torch.testing.assert_close(output, expected)
    weights = torch.randn(output.shape, dtype=torch.float64, generator=generator(2))
    (output * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    assert_equal_gradients(layer, namesake)


@pytest.mark.parametrize(("name", "args", "options", "shape"), CASES)
def test_printed_form_and_attributes_are_the_namesakes(name, args, options, shape):
    layer, namesake = pair(name, args, options, "sttp")
    assert layer.extra_repr() == namesake.extra_repr()
    assert repr(layer).startswith(f"{name}(")
    assert "rank=" in repr(layer.spectral)
    assert layer.weight.shape == namesake.weight.shape
    assert layer.weight.is_contiguous()
    for attribute in ("in_features", "out_channels", "kernel_size", "stride", "padding", "groups", "output_padding"):
        assert getattr(layer, attribute, None) == getattr(namesake, attribute, None)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("name", "args", "options", "shape"), CASES)
def test_layers_fitted_at_full_rank_give_the_outputs_they_gave(name, args, options, shape, geometry):
    torch.manual_seed(0)
    layer = getattr(nn, name)(*args, **options, dtype=torch.float64)
    fitted = layers.reparameterize(layer, STTP(rank=1000, frames=GEOMETRIES[geometry]), init="weights")
    input = torch.randn(shape, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(fitted(input), layer(input))
    torch.testing.assert_close(layers.decompress(fitted)(input), layer(input))


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("size", [[14, 15], [15, 16]])
def test_output_size_of_a_transposed_convolution(size, forward):
    layer, namesake = pair("ConvTranspose2d", (4, 6, (3, 2)), {"stride": 3, "padding": 1}, "sttp", forward)
    input = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(layer(input, size), namesake(input, size))
    with pytest.raises(ValueError, match="output size"):
        layer(input, [100, 100])


EMBEDDINGS = [
    {},
    {"padding_idx": 2},
    {"padding_idx": -1, "max_norm": 0.4},
    {"max_norm": 0.3},
    {"max_norm": 0.5, "norm_type": 1.0},
    {"scale_grad_by_freq": True},
    {"scale_grad_by_freq": True, "padding_idx": 0, "max_norm": 0.4},
]


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("options", EMBEDDINGS, ids=str)
def test_embedding_is_the_namesakes(options, spec, forward):
    layer, namesake = pair("Embedding", (10, 6), options, spec, forward)
    indices = torch.tensor([[0, 2, 2, 9], [9, 4, 0, 2]])
    output, expected = layer(indices), namesake(indices)
    torch.testing.assert_close(output, expected)
    weights = torch.randn(output.shape, dtype=torch.float64, generator=generator(2))
    (output * weights).sum().backward()
    if "max_norm" not in options:
        (expected * weights).sum().backward()
        assert_equal_gradients(layer, namesake)
        return
    # The namesake writes scaled rows back, where no gradient passes; here the scale is a constant of the output.
    dense = layer.weight
    rows = F.embedding(indices, dense, layer.padding_idx, scale_grad_by_freq=layer.scale_grad_by_freq)
    scale = (expected.norm(dim=-1, keepdim=True) / rows.detach().norm(dim=-1, keepdim=True).clamp(min=1e-30)).detach()
    parameters = list(layer.spectral.parameters())
    gradients = torch.autograd.grad((rows * scale * weights).sum(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(parameter.grad.as_subclass(torch.Tensor), gradient.as_subclass(torch.Tensor))


@pytest.mark.parametrize("options", EMBEDDINGS, ids=str)
def test_embedding_prints_as_its_namesake(options):
    layer, namesake = pair("Embedding", (10, 6), options, "sttp")
    assert layer.extra_repr() == namesake.extra_repr()
    assert layer(torch.zeros((), dtype=torch.long)).shape == (6,)
    assert layer(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3, 6)


def test_padding_row_is_zero_and_never_trained():
    layer, _ = pair("Embedding", (10, 6), {"padding_idx": 3}, "sttp")
    assert not layer.weight[3].any()
    assert layer.weight[2].any()
    layer(torch.tensor([3, 3])).sum().backward()
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in layer.parameters())


def test_sparse_embedding_is_refused():
    with pytest.raises(ValueError, match="sparse must be False, got True"):
        layers.Embedding(10, 6, sparse=True, spec=SPECS["sttp"])
    with pytest.raises(ValueError, match="sparse must be False, got True"):
        layers.reparameterize(nn.Sequential(nn.Embedding(10, 6, sparse=True)), SPECS["sttp"])
    with pytest.raises(TypeError, match="init='weights'"):
        layers.Embedding.from_pretrained(torch.zeros(3, 3))


def test_constructor_is_reproducible_and_checks_its_arguments():
    first, second = (layers.Conv2d(4, 8, 3, spec=SPECS["sttp"], generator=generator(3)) for _ in range(2))
    torch.testing.assert_close(first.weight, second.weight, rtol=0, atol=0)
    assert layers.Linear(4, 4, spec=SPECS["svdp"], dtype=torch.float64, device="cpu").weight.dtype == torch.float64
    with pytest.raises(ValueError, match="groups"):
        layers.Conv2d(4, 6, 3, groups=3, spec=SPECS["sttp"])
    with pytest.raises(TypeError, match="float32 or float64"):
        layers.Linear(4, 4, spec=SPECS["sttp"], dtype=torch.bfloat16)


@pytest.mark.parametrize("modes", [((2, 2), (3, 3)), lambda weight: ((4,), (weight.columns,))])
def test_modes_are_the_users_to_choose(modes):
    spec = STTP(rank=2, modes=modes)
    layer = layers.Linear(9, 4, spec=spec)
    expected = modes if isinstance(modes, tuple) else ((4,), (9,))
    shape = layer.spectral.manifold.shape
    assert (shape.row_modes, shape.column_modes) == expected


def test_padded_modes_cut_the_surplus():
    spec = STTP(rank=3, modes=((2, 2, 2), (3, 4)), pad=True, initialization=Haar())
    layer = layers.Linear(11, 7, spec=spec, dtype=torch.float64)
    assert layer.weight.shape == (7, 11)
    input = torch.randn(2, 11, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(layer(input), F.linear(input, layer.weight, layer.bias))
    with pytest.raises(ValueError, match="pad=True"):
        layers.Linear(11, 7, spec=STTP(rank=3, modes=((2, 2, 2), (3, 4))))


@pytest.mark.parametrize("modes", [((2, 2, 2),), 5, ((2, 2), (3, 3), (2,))])
def test_modes_that_are_no_pair_are_refused(modes):
    with pytest.raises(TypeError, match="modes must be a pair"):
        layers.Linear(9, 4, spec=STTP(rank=2, modes=modes))


@pytest.mark.parametrize(
    ("error", "name", "arguments"),
    [
        (ValueError, "rank", {"rank": 0}),
        (TypeError, "rank", {"rank": 1.5}),
        (TypeError, "rank", {"rank": True}),
        (TypeError, "frames", {"rank": 2, "frames": "stiefel"}),
        (TypeError, "spectrum", {"rank": 2, "spectrum": Lipschitz}),
        (TypeError, "initialization", {"rank": 2, "initialization": "haar"}),
        (ValueError, "forward", {"rank": 2, "forward": "cheap"}),
    ],
)
@pytest.mark.parametrize("kind", [STTP, SVDP])
def test_bad_specifications_are_refused_by_name(kind, error, name, arguments):
    with pytest.raises(error, match=f"^{name} must be"):
        kind(**arguments)
