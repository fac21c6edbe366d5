"""How layers take the product with their weight: counts, choices, and what happens where a product does not fit."""

import copy
import warnings
from dataclasses import replace

import opt_einsum
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from trains import GEOMETRIES, generator

from sttp.layers import (
    STTP,
    SVDP,
    Conv2d,
    ConvTranspose2d,
    Embedding,
    Haar,
    Householder,
    Linear,
    Riemannian,
    load,
    reparameterize,
    save,
    shared_evaluation,
)
from sttp.layers import _plan as plan
from sttp.layers._plan import linear_plan
from sttp.manifolds import SpectralTensorTrain, TrainShape

NUMBERS = (1, 16, 64, 256, 1024)
ON_THE_MANIFOLD = {name: GEOMETRIES[name] for name in ("stiefel", "grassmann")}  # whose frames are no work


def total(route, number):
    return route.fixed.operations + number * route.each.operations


def forced(layer, route):
    """Let a layer take one route."""
    layer.plan = replace(layer.plan, routes=(route,))
    return layer


def counted(layer, input):
    """Return the operations of a forward, and of the backward where the input has a gradient."""
    with FlopCounterMode(display=False) as counter:
        output = layer(input)
        if input.requires_grad:
            output.sum().backward()
    return counter.get_total_flops()


# --- counts ---

# A layer, an input of 6 vectors or positions with its gradient, and whether the gradient is that of all operands.
LAYERS = {
    "linear": (lambda spec: Linear(24, 36, spec=spec), (6, 24)),
    "linear-svdp": (lambda spec: Linear(24, 36, spec=SVDP(4, spec.frames)), (3, 2, 24)),
    "conv": (lambda spec: Conv2d(8, 12, 3, padding=1, spec=spec), (1, 8, 2, 3)),
    "grouped": (lambda spec: Conv2d(8, 12, 3, padding=1, groups=2, spec=spec), (8, 2, 3)),
    "transposed": (lambda spec: ConvTranspose2d(8, 12, 2, stride=2, groups=2, spec=spec), (1, 8, 2, 3)),
}


@pytest.mark.parametrize("geometry", ON_THE_MANIFOLD)
@pytest.mark.parametrize("name", LAYERS)
def test_counted_operations_are_those_that_run(name, geometry):
    make, shape = LAYERS[name]
    layer = make(STTP(rank=4, frames=ON_THE_MANIFOLD[geometry], initialization=Haar()))
    assert {route.product for route in layer.plan.routes} >= {"dense", "factors"}
    for route in layer.plan.routes:
        layer = forced(layer, route)
        input = torch.randn(shape, requires_grad=True)
        assert counted(layer, input.detach()) == total(route, 6), route
        if getattr(layer, "groups", 1) == 1:  # in backwards torch counts each group as if it had all channels
            # Each product is there twice more in the backward, for both of its operands.
            assert counted(layer, input) == 3 * total(route, 6), route


@pytest.mark.parametrize("geometry", ON_THE_MANIFOLD)
def test_counted_operations_of_embeddings_are_those_that_run(geometry):
    spec = STTP(rank=4, frames=ON_THE_MANIFOLD[geometry])
    layer = Embedding(64, 12, spec=spec)
    assert {len(route.left) for route in layer.plan.routes} > {0, 1}
    for route in layer.plan.routes:
        assert counted(forced(layer, route), torch.arange(6)) == total(route, 6), route


def every_tree(train, number):
    """Return the operations of the best order of contractions of x with all cores, of all orders that there are."""
    shape = train.shape
    center = len(shape.row_modes)
    length = center + len(shape.column_modes)
    sizes = {f"mode {k}": mode for k, mode in enumerate(shape.row_modes + shape.column_modes)}
    sizes |= {f"bond {k}": rank for k, rank in enumerate(shape.ranks) if 0 < k < length}
    sizes["number"] = number
    modes = [f"mode {k}" for k in range(length)]
    cores = [[index for index in (f"bond {k}", modes[k], f"bond {k + 1}") if index in sizes] for k in range(length)]
    terms = [["number", *modes[center:]], *cores]
    symbols = {index: opt_einsum.get_symbol(k) for k, index in enumerate(sizes)}
    inputs = ",".join("".join(symbols[index] for index in term) for term in terms)
    output = "".join(symbols[index] for index in ("number", *modes[:center]))
    operands = [tuple(sizes[index] for index in term) for term in terms]
    _, path = opt_einsum.contract_path(f"{inputs}->{output}", *operands, shapes=True, optimize="dp")
    return int(path.opt_cost)


TRAINS = {
    "long": TrainShape((2,) * 12, (2,) * 12, 64),
    "short": TrainShape((4, 3, 2), (5, 2, 3), 4),
    "wide": TrainShape((8, 8, 8), (8, 8, 8), 16),
    "flat": TrainShape((2,) * 6, (2,) * 6, 8),
    "one-mode": TrainShape((30,), (40,), 5),
}


@pytest.mark.parametrize("shape", TRAINS)
def test_blocks_are_as_good_as_any_order_of_contractions(shape):
    train = SpectralTensorTrain(TRAINS[shape], Riemannian(redundant=True))
    routes = linear_plan(train, "auto").routes
    for number in NUMBERS:
        best, optimum = min(total(route, number) for route in routes), every_tree(train, number)
        # Blocks are chosen by memory as well.
        assert optimum <= best <= 1.05 * optimum


# --- choices ---


def products(layer, numbers):
    return [layer.route(number).product for number in numbers]


def test_the_cheapest_product_depends_on_the_number_of_vectors():
    with torch.device("meta"):
        layer = Linear(4096, 4096, spec=STTP(rank=64))
        assert products(layer, (1, 64, 4096)) == ["cores", "cores", "factors"]
        assert products(Linear(64, 64, spec=SVDP(rank=48)), (4096,)) == ["dense"]
        assert products(Linear(64, 64, spec=SVDP(rank=8)), (4096,)) == ["factors"]
        # With one channel a group each channel has r filters of its own, which costs more than the one it needs.
        assert products(Conv2d(64, 64, 3, groups=64, spec=SVDP(rank=2)), (4096,)) == ["dense"]
        assert products(Conv2d(64, 64, 3, groups=2, spec=SVDP(rank=8)), (4096,)) == ["factors"]
        # A vocabulary for a few words: neither all of W nor all of U.
        words = Embedding(2**16, 768, spec=STTP(rank=32))
        assert products(words, (1, 64, 10**6)) == ["cores", "cores", "dense"]
        assert all(route.fixed.largest < 2**16 * 32 for route in words.plan.routes if route.product == "cores")


def test_wider_inputs_take_shorter_routes():
    """A forward goes by the number of vectors it gets: the batch times all dimensions before the last."""
    layer = Linear(64, 64, spec=STTP(rank=8, initialization=Haar()), dtype=torch.float64)
    seen = []
    layer.route = lambda number, route=layer.route: seen.append(number) or route(number)
    layer(torch.zeros(3, 5, 64, dtype=torch.float64))
    layer(torch.zeros(64, dtype=torch.float64))
    conv = Conv2d(4, 6, 3, stride=2, padding=1, spec=STTP(rank=2))
    conv.route = lambda number, route=conv.route: seen.append(number) or route(number)
    conv(torch.zeros(2, 4, 8, 8))
    assert seen == [15, 1, 32]


@pytest.mark.parametrize("forward", ["dense", "factors", "cores"])
def test_products_can_be_forced(forward):
    spec = STTP(rank=8, forward=forward)
    for make in (lambda: Linear(64, 64, spec=spec), lambda: Embedding(64, 64, spec=spec)):
        assert set(products(make(), NUMBERS)) == {forward}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(products(Conv2d(8, 8, 3, spec=spec), NUMBERS)) == {"factors" if forward == "cores" else forward}
    network = reparameterize(nn.Sequential(nn.Linear(8, 8), nn.Embedding(8, 8)), spec)
    assert {layer.plan.forward for layer in network} == {forward}
    assert {layer.plan.forward for layer in copy.deepcopy(network)} == {forward}


def test_saved_networks_keep_the_product_that_was_asked_for(tmp_path):
    def network():
        return nn.Sequential(nn.Linear(8, 8), nn.Conv2d(4, 4, 3))

    for forward in ("auto", "dense", "cores"):
        save(reparameterize(network(), STTP(rank=2, forward=forward)), tmp_path)
        loaded = load(network(), tmp_path)
        assert loaded[0].plan.forward == forward
        assert loaded[1].plan.forward == ("factors" if forward == "cores" else forward)
    description = (tmp_path / "sttp.json").read_text().replace('"cores"', '"quick"')
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors, tmp_path / "model.safetensors", {"sttp.json": description})
    with pytest.raises(ValueError, match=r"sttp\.json"):
        load(network(), tmp_path)


@pytest.mark.filterwarnings("ignore:.*autograd function:DeprecationWarning")  # torch.compile calls its own old ways
@pytest.mark.parametrize(("forward", "dynamic"), [("auto", True), ("dense", False), ("cores", False)])
def test_compiled_forwards_agree_with_eager(forward, dynamic):
    spec = STTP(rank=4, forward=forward, initialization=Haar())
    torch.manual_seed(0)
    network = reparameterize(nn.Sequential(nn.Linear(24, 24), nn.Tanh()), spec)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for number in (3, 200):
        input = torch.randn(number, 24, generator=generator())
        found, expected = compiled(input), network(input)
        torch.testing.assert_close(found, expected)
        parameters = list(network.parameters())
        gradients = [torch.autograd.grad(output.square().mean(), parameters) for output in (found, expected)]
        torch.testing.assert_close(*gradients)


# --- memory ---


def test_a_product_that_does_not_fit_falls_back_and_says_so_once(monkeypatch):
    monkeypatch.setattr(plan, "LARGEST", 2000)
    layer = Linear(64, 64, spec=STTP(rank=4, forward="dense", initialization=Haar()))
    expected = nn.functional.linear(torch.ones(2, 64), layer.weight, layer.bias)
    message = (
        r"Linear\(in_features=64.*forward='dense' would make a tensor of 4,096 entries, so that forward='(factors|cor)"
    )
    with pytest.warns(UserWarning, match=message):
        torch.testing.assert_close(layer(torch.ones(2, 64)), expected)
    layer(torch.ones(2, 64))  # warnings are errors here
    other = copy.deepcopy(layer)
    other(torch.ones(2, 64))
    with pytest.warns(UserWarning, match="would make a tensor"):
        Linear(64, 64, spec=STTP(rank=4, forward="dense"))(torch.ones(2, 64))


def test_automatic_products_fall_back_for_large_batches_alone(monkeypatch):
    with torch.device("meta"):
        layer = Conv2d(64, 64, 3, groups=2, padding=1, spec=STTP(rank=8))
        assert products(layer, (100, 10**5)) == ["factors", "factors"]
        monkeypatch.setattr(plan, "LARGEST", 10**6)
        assert products(layer, (100,)) == ["factors"]
        with pytest.warns(UserWarning, match=r"forward='factors' would make a tensor of 1,600,000 entries"):
            assert products(layer, (10**5,)) == ["dense"]


def test_where_nothing_fits_the_smallest_is_taken(monkeypatch):
    monkeypatch.setattr(plan, "LARGEST", 1)
    layer = Linear(64, 64, spec=STTP(rank=4, frames=Householder(), forward="dense"))
    with pytest.warns(UserWarning, match="forward='dense' would make"):
        route = layer.route(2)
    assert route.largest(2) == min(route.largest(2) for route in layer.plan.routes)
    layer = Linear(4, 4, spec=SVDP(rank=1))
    assert layer(torch.ones(1, 4)).shape == (1, 4)


# --- bad input, kept weights ---


@pytest.mark.parametrize("forward", ["dense", "factors", "cores"])
@pytest.mark.parametrize("width", [4, 12, 16, 1, 0])
def test_inputs_of_a_wrong_width_get_the_error_of_torch(forward, width):
    layer, namesake = Linear(8, 6, spec=STTP(rank=4, forward=forward)), nn.Linear(8, 6)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        namesake(torch.zeros(2, width))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer(torch.zeros(2, width))
    conv = Conv2d(4, 6, 3, spec=STTP(rank=2, forward=forward))
    with pytest.raises(RuntimeError, match="to have 4 channels"):
        conv(torch.zeros(1, max(width, 5), 8, 8))
    with pytest.raises(IndexError):
        Embedding(10, 6, spec=STTP(rank=2, forward=forward))(torch.tensor([10]))
    with pytest.raises(RuntimeError, match="type"):
        layer(torch.zeros(2, 8, dtype=torch.float64))


def test_kept_weights_are_made_once_and_cost_nothing_more(monkeypatch):
    """In a block without gradients what is formed serves many forwards, so that forming it no longer counts."""
    network = reparameterize(nn.Sequential(nn.Linear(256, 256)), STTP(rank=16, initialization=Haar()), init=None)
    layer, input = network[0], torch.randn(8, 256, generator=generator())
    expected = network(input).detach()
    assert layer.route(8).product == "cores"
    formed = []
    original = SpectralTensorTrain.factors_of_frames
    monkeypatch.setattr(
        SpectralTensorTrain, "factors_of_frames", lambda *arguments: formed.append(0) or original(*arguments)
    )
    with torch.no_grad(), shared_evaluation(network):
        assert layer.route(8).product == "factors"
        for _ in range(3):
            torch.testing.assert_close(network(input), expected)
        assert len(formed) == 1
        assert layer.spectral.matrix() is layer.spectral.matrix()  # W as well
        with torch.enable_grad():
            assert layer.route(8).product == "cores"
        layer.spectral.spectrum.mul_(2)
        torch.testing.assert_close(network(input) - layer.bias, 2 * (expected - layer.bias), rtol=1e-5, atol=1e-6)
        assert len(formed) == 2
    assert layer.route(8).product == "cores"
    assert layer.spectral.matrix() is not layer.spectral.matrix()
