"""Class conditioning of GANs, and the registry's options."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sttp.layers import STTP, reparameterize, report
from sttp.study import NETWORKS
from sttp.study.networks.sngan import ConditionalBatchNorm2d, discriminator, generator

CLASSES = 3
LABELS = torch.tensor([0, 2, 1, 2, 0])


def inputs(network, dtype=torch.float64):
    torch.manual_seed(0)
    shape = (len(LABELS), network.noise_dimension) if hasattr(network, "noise_dimension") else (len(LABELS), 1, 8, 8)
    return torch.randn(shape, dtype=dtype)


def conditional(kind):
    torch.manual_seed(1)
    network = kind(8, 8, number_of_classes=CLASSES).double()
    for module in network.modules():
        if isinstance(module, ConditionalBatchNorm2d):
            nn.init.normal_(module.scale)
            nn.init.normal_(module.shift)
    return network


def test_the_conditional_norm_is_torchs_norm_of_each_class():
    torch.manual_seed(0)
    layer = ConditionalBatchNorm2d(4, CLASSES).double()
    x = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x, LABELS), nn.BatchNorm2d(4).double()(x))  # a fresh one knows no classes yet
    nn.init.normal_(layer.scale)
    nn.init.normal_(layer.shift)
    outputs = layer(x, LABELS)
    statistics = {"running_mean": None, "running_var": None, "training": True}
    for label in range(CLASSES):
        # The statistics are the whole batch's, scale and shift those of the class.
        expected = F.batch_norm(x, **statistics, weight=layer.scale[label], bias=layer.shift[label])
        torch.testing.assert_close(outputs[label == LABELS], expected[label == LABELS])


def test_the_projection_adds_the_inner_product_of_features_and_class():
    network = conditional(discriminator)
    images = inputs(network)
    features = []
    network.linear.register_forward_pre_hook(lambda _module, arguments: features.append(arguments[0]))
    scores = network(images, LABELS)
    vectors = network.linear.weight + network.embedding.weight[LABELS]
    torch.testing.assert_close(scores, torch.einsum("nk,nk->n", features[0], vectors)[:, None])


@pytest.mark.parametrize("kind", [generator, discriminator])
def test_every_image_depends_on_its_own_label_alone(kind):
    network = conditional(kind).eval()
    given = inputs(network)
    outputs = network(given, LABELS)
    changed = LABELS.clone()
    changed[3] = 1
    differs = (network(given, changed) - outputs).flatten(1).abs().amax(dim=1) > 1e-6
    assert differs.tolist() == [False, False, False, True, False]


def test_the_generator_of_one_class_is_a_plain_generator_with_that_classs_norms():
    network, plain = conditional(generator).eval(), generator(8, 8).double().eval()
    noise = inputs(network)
    for label in range(CLASSES):
        state = {}
        for name, value in network.state_dict().items():
            table = name.endswith(("scale", "shift"))
            name = name.replace("scale", "weight").replace("shift", "bias").replace(".norm.", ".")
            state[name] = value[label] if table else value
        plain.load_state_dict(state)
        torch.testing.assert_close(network(noise, torch.full_like(LABELS, label)), plain(noise))


@pytest.mark.parametrize("kind", [generator, discriminator])
def test_gradient_reaches_every_parameter_of_a_conditional_network(kind):
    network = conditional(kind).eval()
    network(inputs(network), LABELS).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("kind", [generator, discriminator])
def test_conditioning_adds_its_tables_and_nothing_else(kind):
    plain, with_classes = kind(8), kind(8, number_of_classes=CLASSES)
    known = {name: parameter.shape for name, parameter in plain.named_parameters()}
    extra = [p for name, p in with_classes.named_parameters() if known.get(name) != p.shape]
    if kind is generator:
        # Two blocks with two norms of 32 channels each; scales and shifts for each class in place of one.
        assert [tuple(p.shape) for p in extra] == [(CLASSES, 32)] * 8
    else:
        assert [tuple(p.shape) for p in extra] == [(CLASSES, 32)]


def test_the_generators_tables_stay_plain_when_it_is_reparameterized():
    name = "sngan8-generator"
    network = NETWORKS[name].build(number_of_classes=CLASSES)
    names = [layer.name for layer in report(network, STTP(rank=4), NETWORKS[name].skip).layers]
    assert names == [f"blocks.{k}.{layer}" for k in (0, 1) for layer in ("conv1", "conv2", "shortcut")] + ["conv"]
    reparameterize(network, STTP(rank=4), NETWORKS[name].skip)
    assert network(inputs(network, torch.float32), LABELS).isfinite().all()


@pytest.mark.parametrize("kind", [generator, discriminator])
def test_labels_are_asked_for_where_they_are_needed_and_refused_elsewhere(kind):
    network = kind(8, 4, number_of_classes=CLASSES)
    with pytest.raises(ValueError, match=r"^labels must be given to a network with 3 classes, got None$"):
        network(inputs(network, torch.float32))
    network = kind(8, 4)
    with pytest.raises(ValueError, match=r"^labels must be None for a network without classes, got 5 of them; build"):
        network(inputs(network, torch.float32), LABELS)


# --- the registry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].role != "trained"])
def test_every_option_of_the_registry_is_one(name):
    entry = NETWORKS[name]
    values = {"depth": 22, "widen_factor": 3, "number_of_classes": 5, "channels": 2, "base_width": 64}
    assert {"base_width", "channels", "number_of_classes"} <= set(entry.options) <= values.keys()

    def shapes(**options):
        with torch.device("meta"):
            return [parameter.shape for parameter in entry.build(**options).parameters()]

    standard = shapes()
    assert shapes(**dict.fromkeys(entry.options)) == standard
    for option in entry.options:
        assert shapes(**{option: values[option]}) != standard


def test_an_unknown_option_is_refused_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="option of the network has no choice 'widen_facto'; did you mean 'widen_fact"):
        NETWORKS["wrn-16-2"].build(widen_facto=2)
    with pytest.raises(ValueError, match="option of the network has no choice 'depth'; choose from base_width"):
        NETWORKS["digits"].build(depth=16)


def test_wide_networks_of_the_registry_are_what_their_names_say():
    for name in ("wrn-28-10", "wrn-16-2", "wrn-10-1"):
        depth, factor = map(int, name.split("-")[1:])
        with torch.device("meta"):
            network = NETWORKS[name].build()
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        # The name counts the three shortcuts, of which an unwidened network does without the first.
        assert len(convolutions) + (factor == 1) == depth
        assert network.linear.in_features == 64 * factor
