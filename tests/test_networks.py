"""The networks of the paper: their sizes against published figures, their wiring against the words of the papers."""

from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sttp.study.networks.sngan import NOISE_DIMENSION, discriminator, generator
from sttp.study.networks.wide_resnet import wide_resnet

NARROW = {
    "wrn": (lambda: wide_resnet(10, 1, 10, base_width=4), (3, 32, 32), (10,)),
    "wrn-digits": (lambda: wide_resnet(10, 1, 7, base_width=4, channels=1), (1, 8, 8), (7,)),
    "generator-8": (lambda: generator(8, 4), (NOISE_DIMENSION,), (1, 8, 8)),
    "generator-32": (lambda: generator(32, 8), (NOISE_DIMENSION,), (3, 32, 32)),
    "generator-48": (lambda: generator(48, 16), (NOISE_DIMENSION,), (3, 48, 48)),
    "generator-64": (lambda: generator(64, 64), (NOISE_DIMENSION,), (3, 64, 64)),
    "discriminator-8": (lambda: discriminator(8, 4), (1, 8, 8), (1,)),
    "discriminator-32": (lambda: discriminator(32, 8), (3, 32, 32), (1,)),
    "discriminator-48": (lambda: discriminator(48, 64), (3, 48, 48), (1,)),
    "discriminator-64": (lambda: discriminator(64, 64, channels=4), (4, 64, 64), (1,)),
}
PAPER = {
    "wrn": wide_resnet,
    "generator-32": lambda: generator(32),
    "generator-48": lambda: generator(48),
    "discriminator-32": lambda: discriminator(32),
    "discriminator-48": lambda: discriminator(48),
}


def on_meta(build):
    with torch.device("meta"):
        return build()


def narrow(name, dtype=torch.float32):
    build, input_shape, output_shape = NARROW[name]
    torch.manual_seed(0)
    return build().to(dtype), torch.randn(2, *input_shape, dtype=dtype), (2, *output_shape)


def number_of_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- the count of degrees of freedom, in plain integers -------------------------------------------------------------


def prime_factors(number):
    smallest = next((p for p in range(2, number + 1) if number % p == 0), None)
    return [] if smallest is None else [smallest, *prime_factors(number // smallest)]


def count_svdp(rows, channels, filter_size, rank, identity):
    columns = channels * filter_size
    rank = min(rank, rows, columns)
    matrices = rank * (rows + columns - rank)  # the matrices of this rank are a manifold of this dimension
    return matrices - rank * (rank + 1) // 2 if identity else matrices


def train_of(rows, channels, filter_size, rank):
    left = prime_factors(rows) or [1]
    right = prime_factors(channels) + [filter_size] * (filter_size > 1) or [1]
    modes = left + right
    inner = [min(rank, prod(modes[:k]), prod(modes[k:])) for k in range(1, len(modes))]
    return modes, [1, *inner, 1], len(left)


def count_sttp(rows, channels, filter_size, rank, identity):
    modes, ranks, center = train_of(rows, channels, filter_size, rank)
    cores = sum(before * mode * after for before, mode, after in zip(ranks, modes, ranks[1:], strict=False))
    train = cores - sum(inner**2 for inner in ranks[1:-1])
    r = ranks[center]
    # A spectrum fixed to ones gives up r values, and r(r − 1)/2 rotations of the centre with them.
    return train - r * (r + 1) // 2 if identity else train


def layers_of(network):
    """(rows, channels, filter size) of every convolution and linear layer."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [(*layer.weight.shape[:2], prod(layer.weight.shape[2:])) for layer in layers]


@pytest.mark.parametrize(
    ("count", "identity", "expected_32", "expected_48"),
    [
        (count_svdp, True, 51.743, 14.227),
        (count_sttp, True, 16.713, 3.246),
        (count_svdp, False, 53.358, 14.497),
        (count_sttp, False, 18.329, 3.516),
    ],
    ids=["SVDP-C", "STTP-C", "SVDP-L", "STTP-L"],
)
def test_compression_of_the_discriminators_at_rank_64_is_the_papers(count, identity, expected_32, expected_48):
    for resolution, expected in ((32, expected_32), (48, expected_48)):
        network = on_meta(lambda resolution=resolution: discriminator(resolution))
        layers = layers_of(network)
        kept = number_of_parameters(network) - sum(prod(layer) for layer in layers)
        degrees_of_freedom = sum(count(*layer, 64, identity) for layer in layers)
        assert 100 * (degrees_of_freedom + kept) / number_of_parameters(network) == pytest.approx(expected, abs=5e-4)


def test_the_wide_network_has_the_expected_frames_at_rank_64():
    frames = []
    for layer in layers_of(on_meta(wide_resnet)):
        modes, ranks, center = train_of(*layer, 64)
        for k, mode in enumerate(modes):
            outer, inner = (ranks[k], ranks[k + 1]) if k < center else (ranks[k + 1], ranks[k])
            frames.append((outer * mode, inner, k in (center - 1, center)))
    square_inside = [frame for frame in frames if frame[0] == frame[1] and not frame[2]]
    assert (len(frames), len({frame[:2] for frame in frames}), len(square_inside)) == (410, 25, 222)


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_number_of_parameters_of_wrn_28_10():
    # Weights and batch norms without convolution biases: 36 479 194, the count of the usual implementations.
    # Biases: 16 of the first convolution; at widths 160, 320, 640 eight 3×3 convolutions and one shortcut each.
    network = on_meta(wide_resnet)
    assert number_of_parameters(network) == 36_479_194 + 16 + 9 * (160 + 320 + 640) == 36_489_290
    assert network.conv1.weight.shape == (16, 3, 3, 3)
    assert len(network.blocks) == 12


@pytest.mark.parametrize(("depth", "factor", "millions"), [(40, 1, 0.6), (40, 4, 8.9), (16, 8, 11.0), (22, 8, 17.2)])
def test_number_of_parameters_of_other_wide_networks_is_the_published_one(depth, factor, millions):
    network = on_meta(lambda: wide_resnet(depth, factor))
    assert number_of_parameters(network) / 1e6 == pytest.approx(millions, abs=0.06)


def test_number_of_parameters_of_the_gan_of_resolution_32():
    # First layer, seven square 3×3 convolutions, the two shortcuts, the last layer.
    parts = 128 * 28, 7 * 128 * (9 * 128 + 1), 128 * 4 + 128 * 129, 128
    assert number_of_parameters(on_meta(PAPER["discriminator-32"])) == sum(parts)
    # Linear layer; per block two 3×3 convolutions, a shortcut and two norms; the last norm and convolution.
    parts = 4096 * 129, 3 * (2 * 256 * (9 * 256 + 1) + 256 * 257 + 4 * 256), 2 * 256 + 3 * (9 * 256 + 1)
    assert number_of_parameters(on_meta(PAPER["generator-32"])) == sum(parts)


def test_widths_follow_the_paper_and_the_base_width():
    def shortcuts(network):
        return [tuple(block.shortcut.weight.shape[:2]) for block in network.blocks if block.shortcut is not None]

    assert shortcuts(on_meta(PAPER["generator-48"])) == [(256, 512), (128, 256), (64, 128)]
    assert shortcuts(on_meta(PAPER["discriminator-32"])) == [(128, 3), (128, 128)]
    assert shortcuts(on_meta(PAPER["discriminator-48"])) == [(64, 3), (128, 64), (256, 128), (512, 256), (1024, 512)]
    assert shortcuts(on_meta(lambda: discriminator(32, 32))) == [(32, 3), (32, 32)]
    assert shortcuts(on_meta(lambda: discriminator(48, 64))) == [(4, 3), (8, 4), (16, 8), (32, 16), (64, 32)]
    assert on_meta(PAPER["generator-32"]).linear.weight.shape == (4 * 4 * 256, 128)
    assert on_meta(PAPER["generator-48"]).linear.weight.shape == (6 * 6 * 512, 128)
    assert on_meta(PAPER["discriminator-32"]).linear.bias is None
    # The pair for 64 pixels is the one of the projection discriminator's authors, of base width 64.
    assert shortcuts(on_meta(lambda: generator(64))) == [(512, 1024), (256, 512), (128, 256), (64, 128)]
    assert shortcuts(on_meta(lambda: discriminator(64))) == shortcuts(on_meta(PAPER["discriminator-48"]))
    assert on_meta(lambda: generator(64)).linear.weight.shape == (4 * 4 * 1024, 128)


# --- behaviour ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NARROW)
def test_gradient_reaches_every_parameter(name):
    # In evaluation mode: a batch norm in training mode rightly cancels the biases before it.
    network, inputs, _ = narrow(name, torch.float64)
    network.eval()(inputs).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("wrn", [32, 16, 8]),
        ("wrn-digits", [8, 4, 2]),
        ("generator-8", [4, 8]),
        ("generator-32", [8, 16, 32]),
        ("generator-48", [12, 24, 48]),
        ("generator-64", [8, 16, 32, 64]),
        ("discriminator-8", [4, 2, 2]),
        ("discriminator-32", [16, 8, 8, 8]),
        ("discriminator-48", [24, 12, 6, 3, 3]),
        ("discriminator-64", [32, 16, 8, 4, 2]),
    ],
)
def test_blocks_change_the_size_where_they_should_and_outputs_are_as_promised(name, sizes):
    network, inputs, output_shape = narrow(name)
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[-1]))
    outputs = network(inputs)
    assert seen == sizes
    assert outputs.shape == output_shape
    assert outputs.isfinite().all()
    if name.startswith("generator"):
        assert outputs.abs().max() < 1


@pytest.mark.parametrize(
    "build", [lambda: wide_resnet(16, 1, base_width=4).blocks[1], lambda: discriminator(32, 8).blocks[2]]
)
def test_a_block_without_residual_is_the_identity_where_the_shape_stays(build):
    block = build()
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, block.conv1.in_channels, 8, 8)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_a_block_without_residual_is_its_shortcut_where_the_shape_changes():
    torch.manual_seed(0)
    up, down, wide = (
        generator(32, 8).blocks[0],
        discriminator(32, 8).blocks[0],
        wide_resnet(10, 1, base_width=4).blocks[1],
    )
    for block in (up, down, wide):
        block.double()
        nn.init.zeros_(block.conv2.weight)
        nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up(x), up.shortcut(larger))
    image = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(down(image), F.avg_pool2d(down.shortcut(image), 2))
    x = x[:, :4]
    torch.testing.assert_close(wide.eval()(x), wide.shortcut(F.relu(wide.norm1(x))))


def test_only_the_first_discriminator_block_sees_negative_inputs():
    torch.manual_seed(0)
    for index, block in enumerate(discriminator(32, 8).blocks):
        nn.init.zeros_(block.conv1.bias)
        negative = -torch.rand(2, block.conv1.in_channels, 8, 8)
        hidden = []
        block.conv1.register_forward_hook(lambda _module, _inputs, output, hidden=hidden: hidden.append(output))
        block(negative)
        assert bool(hidden[0].any()) == (index == 0)


def test_the_discriminator_sums_over_space():
    network, images, _ = narrow("discriminator-32", torch.float64)
    for parameter in network.blocks[1:].parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(network.blocks[-1].conv2.bias, 0.5)  # each of the 64 pixels of the last block is now 0.5
    nn.init.ones_(network.linear.weight)
    torch.testing.assert_close(network(images), torch.full((2, 1), 8 * 64 * 0.5, dtype=torch.float64))


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "argument", "value", "cure"),
    [
        (lambda: wide_resnet(depth=27), "depth", "27", "6n + 4"),
        (lambda: wide_resnet(depth=4), "depth", "4", "6n + 4"),
        (lambda: wide_resnet(depth=28.0), "depth", "28.0", "6n + 4"),
        (lambda: wide_resnet(widen_factor=0), "widen_factor", "0", "at least 1"),
        (lambda: wide_resnet(number_of_classes=-1), "number_of_classes", "-1", "at least 1"),
        (lambda: wide_resnet(base_width=True), "base_width", "True", "integer"),
        (lambda: wide_resnet(channels=0), "channels", "0", "at least 1"),
        (lambda: generator(40), "resolution", "40", "8, 32, 48, 64"),
        (lambda: discriminator(32.0), "resolution", "32.0", "8, 32, 48, 64"),
        (lambda: generator(8, channels=0), "channels", "0", "at least 1"),
        (lambda: discriminator(8, number_of_classes=2.0), "number_of_classes", "2.0", "integer"),
        (lambda: generator(32, 0), "base_width", "0", "multiple of 1"),
        (lambda: generator(48, 12), "base_width", "12", "multiple of 8"),
        (lambda: discriminator(48, 24), "base_width", "24", "multiple of 16"),
        (lambda: discriminator(32, "32"), "base_width", "'32'", "multiple of 1"),
    ],
)
def test_bad_arguments_are_refused_by_name_with_the_cure(call, argument, value, cure):
    with pytest.raises((TypeError, ValueError), match=rf"^{argument} must") as refusal:
        call()
    assert f"got {value}" in str(refusal.value)
    assert cure in str(refusal.value)
