"""``factorize``: plain torch.nn pairs with equal outputs where they are cheaper, and else dense layers."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from trains import GEOMETRIES, SPECTRA, generator

from sttp.layers import STTP, SVDP, Haar, SpectralLayer, decompress, factorize, reparameterize

PLAIN = (nn.Sequential, nn.Linear, nn.Embedding, nn.modules.conv._ConvNd)


def spectral(network, rank=2, spec=STTP, **options):
    torch.manual_seed(0)
    options = {"initialization": Haar(), **options}
    return reparameterize(network.double(), spec(rank, **options), generator=generator())


def require_equal(network, *inputs):
    """Return the factored network, after its outputs, and those of what is rebuilt from its state, were compared."""
    factored = factorize(network)
    assert not any(isinstance(module, SpectralLayer) for module in factored.modules())
    torch.testing.assert_close(factored(*inputs), network(*inputs))
    torch.testing.assert_close(factored(*inputs), decompress(network)(*inputs))
    return factored


def image(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=generator(1))


CONVOLUTIONS = [
    (nn.Conv1d(12, 16, 3, stride=2, padding=1, dilation=2), (2, 12, 9)),
    (nn.Conv1d(12, 16, 4, padding="same", bias=False), (2, 12, 9)),
    (nn.Conv2d(12, 16, (3, 2), padding=(2, 1), padding_mode="reflect"), (2, 12, 7, 8)),
    (nn.Conv2d(12, 16, 3, padding="same", padding_mode="circular", groups=2), (2, 12, 7, 8)),
    (nn.Conv3d(12, 16, (3, 1, 2), padding=1, stride=(1, 2, 1)), (12, 5, 4, 6)),
    (nn.ConvTranspose1d(12, 16, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 12, 7)),
    (nn.ConvTranspose2d(12, 16, (3, 2), stride=2, dilation=2, bias=False), (2, 12, 5, 6)),
    (nn.ConvTranspose3d(12, 16, 2, stride=(2, 1, 1), output_padding=(1, 0, 0)), (2, 12, 3, 4, 5)),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's own, about its copy of the input
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=lambda value: str(value)[:40])
def test_convolutions_become_pairs_with_equal_outputs(layer, shape, spectrum):
    network = spectral(copy.deepcopy(layer), spectrum=SPECTRA[spectrum])
    factored = require_equal(network, image(*shape))
    first, second = factored
    assert type(first) is type(layer)
    assert (first.in_channels, first.out_channels, first.groups) == (12, 2 * layer.groups, layer.groups)
    for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode", "output_padding"):
        assert getattr(first, name) == getattr(layer, name)
    assert set(second.kernel_size) == {1}
    assert first.bias is None
    assert (second.bias is None) == (layer.bias is None)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("spec", [STTP, SVDP])
def test_networks_run_in_plain_torch(geometry, spec):
    layers = [nn.Embedding(40, 24, padding_idx=3), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 32, bias=False)]
    network = spectral(nn.Sequential(*layers), spec=spec, frames=GEOMETRIES[geometry]).eval()
    with torch.no_grad():
        network[1].spectral.spectrum.mul_(-1.5)  # singular values of any sign
    indices = torch.tensor([[0, 3, 5], [39, 3, 1]])
    factored = require_equal(network, indices)
    assert all(type(module).__module__.startswith("torch.nn") for module in factored.modules())
    assert not factored[1].training
    assert factored[0][0].padding_idx == 3
    plain = nn.Sequential(
        nn.Sequential(nn.Embedding(40, 2, padding_idx=3), nn.Linear(2, 24, bias=False)),
        nn.Sequential(nn.Linear(24, 2, bias=False), nn.Linear(2, 16)),
        nn.Tanh(),
        nn.Sequential(nn.Linear(16, 2, bias=False), nn.Linear(2, 32, bias=False)),
    ).double()
    plain.load_state_dict(factored.state_dict())
    torch.testing.assert_close(plain(indices), network(indices))
    # Each singular value stands in both layers to equal parts.
    for first, second in (factored[1], factored[3]):
        torch.testing.assert_close(first.weight.norm(dim=1), second.weight.norm(dim=0))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 20), (5, 12)),
        (nn.Conv2d(6, 8, 3, padding=1), (1, 6, 5, 5)),
        (nn.Conv2d(6, 8, 3, padding=1, groups=2), (1, 6, 5, 5)),
        # Its second layer has few parameters, and much to multiply with them.
        (nn.ConvTranspose2d(6, 8, 4, stride=4), (1, 6, 5, 5)),
    ],
    ids=str,
)
def test_pairs_are_made_exactly_where_they_are_cheaper(layer, shape):
    def work(network):
        with FlopCounterMode(display=False) as counter:
            network(image(*shape))
        return counter.get_total_flops()

    made = set()
    for rank in range(1, 9):
        network = spectral(copy.deepcopy(layer), rank, spec=SVDP, forward="factors")
        factored, dense = require_equal(network, image(*shape)), decompress(network)
        # The layer itself multiplies as a pair would: its frames take no product.
        saved = work(dense) - work(network)
        left, right = network.spectral.coordinates
        stored = left.numel() + right.numel() * getattr(layer, "groups", 1)
        assert isinstance(factored, nn.Sequential) == (saved > 0 and stored < layer.weight.numel())
        made.add(isinstance(factored, nn.Sequential))
    assert made == {True, False}


def test_what_was_shared_stays_shared():
    layer = nn.Linear(12, 12)
    tied = nn.Linear(12, 12, bias=False)
    tied.weight = layer.weight
    network = spectral(nn.Sequential(layer, nn.Tanh(), layer, tied))
    factored = require_equal(network, image(3, 12))
    assert factored[0] is factored[2]
    assert factored[0] is not factored[3]
    assert all(ours.weight is theirs.weight for ours, theirs in zip(factored[0], factored[3], strict=True))
    assert len(list(factored.parameters())) == 3


def test_a_weight_shared_by_layers_of_two_kinds_stays_one_weight():
    embedding, decoder = nn.Embedding(30, 12), nn.Linear(12, 30, bias=False)
    decoder.weight = embedding.weight
    network = spectral(nn.Sequential(embedding, nn.Linear(12, 12), decoder))
    factored = require_equal(network, torch.tensor([1, 29]))
    assert factored[0].weight is factored[2].weight
    assert isinstance(factored[1], nn.Sequential)


def test_hooks_are_kept():
    seen = []
    network = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 2))
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(output) or output + 1)
    network[0].register_full_backward_hook(lambda *_: seen.append("backward"))
    network = spectral(network)
    factored = require_equal(network, image(3, 12).requires_grad_())
    seen.clear()
    factored(image(3, 12).requires_grad_()).sum().backward()
    assert seen[-1] == "backward"
    assert len(seen) == 2


def test_training_flags_and_originals_are_left_as_they_were():
    network = spectral(nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 16)))
    network[0].requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    factored = factorize(network)
    assert [p.requires_grad for p in factored[0].parameters()] == [False] * 3
    assert all(p.requires_grad for p in factored[1].parameters())
    factored[1][1].bias.data.zero_()
    torch.testing.assert_close(network.state_dict(), before)
    state = torch.get_rng_state()
    factorize(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert factorize(spectral(nn.Linear(12, 16)).float())[0].weight.dtype == torch.float32


EMBEDDINGS = {
    "max-norm": {"max_norm": 0.5},
    "scaled-gradients": {"scale_grad_by_freq": True},
}


@pytest.mark.parametrize("options", EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_embeddings_with_rules_about_rows_stay_one_layer(options):
    network = spectral(nn.Sequential(nn.Embedding(30, 12, **options)))
    assert isinstance(require_equal(network, torch.tensor([0, 29])), nn.Sequential)
    assert isinstance(factorize(network)[0], nn.Embedding)


def test_a_padding_vector_outside_the_factors_is_kept():
    network = spectral(nn.Sequential(nn.Embedding(30, 12, padding_idx=-1)))
    assert isinstance(factorize(network)[0], nn.Sequential)
    assert not factorize(network)(torch.tensor([29])).any()
    network[0].padding_vector.fill_(2)
    assert isinstance(require_equal(network, torch.tensor([0, 29]))[0], nn.Embedding)


def test_transformers_keep_the_weights_that_torch_reads():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    network = spectral(nn.Sequential(nn.Linear(16, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)))
    for mode in (True, False):  # torch's fast path reads weights where nothing is trained
        network.train(mode)
        with torch.no_grad():
            factored = require_equal(network, image(2, 5, 16))
    assert isinstance(factored[0], nn.Sequential)
    assert isinstance(factored[1].layers[0].linear1, nn.Linear)


def test_layers_can_be_skipped():
    network = spectral(nn.Sequential(nn.Linear(12, 16), nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))))
    kinds = [isinstance(module, nn.Sequential) for module in (*factorize(network, skip=("1",))[1],)]
    assert kinds == [False, False]
    assert isinstance(factorize(network, skip="1.*")[0], nn.Sequential)
    with pytest.raises(ValueError, match=r"skip='nothing' matches no module"):
        factorize(network, skip="nothing")
    with pytest.raises(ValueError, match="no spectral layer"):
        factorize(nn.Linear(3, 3))


def test_embeddings_that_share_a_weight_but_no_padding_stay_whole():
    first, second = nn.Embedding(64, 48, padding_idx=0), nn.Embedding(64, 48)
    second.weight = first.weight
    network = spectral(nn.ModuleList([first, second]))
    plain = factorize(network)
    for one, other in zip(network, plain, strict=True):
        torch.testing.assert_close(one(torch.arange(64)), other(torch.arange(64)))
