"""Whole networks to spectral layers and back: what is chosen, shared, tied, frozen, refused."""

import copy
import warnings

import geoopt
import pytest
import torch
from torch import nn
from trains import GEOMETRIES, SPECTRA, generator, relative_error

from sttp import layers
from sttp.layers import (
    STTP,
    SVDP,
    Haar,
    Householder,
    Identity,
    Lipschitz,
    Riemannian,
    SpectralLayer,
    SpectralWeight,
    decompress,
    reparameterize,
    spectral_weights,
)

SPEC = STTP(rank=2, initialization=Haar())


class Tied(nn.Module):
    """A language model in small: the decoder reads the embedding's weight."""

    def __init__(self, **options):
        super().__init__()
        self.embedding = nn.Embedding(10, 6, **options)
        self.decoder = nn.Linear(6, 10)
        self.decoder.weight = self.embedding.weight

    def forward(self, x):
        return self.decoder(self.embedding(x))


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.ConvTranspose2d(8, 4, 2, stride=2)),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 5),
    )


IMAGES = torch.randn(3, 3, 6, 6, generator=generator(1))
WORDS = torch.tensor([[0, 3, 2], [9, 2, 1]])


def spectral_names(network):
    return [name for name, module in network.named_modules() if isinstance(module, SpectralLayer)]


# --- what is chosen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        ((), ["0", "3.0", "3.1", "5"]),
        (("0",), ["3.0", "3.1", "5"]),
        ("5", ["0", "3.0", "3.1"]),
        (("3",), ["0", "5"]),
        (("3.*",), ["0", "5"]),
        (["*.1", "5"], ["0", "3.0"]),
        (("[05]",), ["3.0", "3.1"]),
        (("1", "2"), ["0", "3.0", "3.1", "5"]),
        ((name for name in ("0", "5")), ["3.0", "3.1"]),
    ],
)
def test_skip_takes_names_globs_and_containers(skip, left):
    network = convolutional()
    assert reparameterize(network, SPEC, skip=skip) is network
    assert spectral_names(network) == left
    assert network(IMAGES).shape == (3, 5)


@pytest.mark.parametrize("skip", ["conv1", ("0", "head"), ["6.*"]])
def test_skip_that_matches_nothing_is_refused(skip):
    network = convolutional()
    with pytest.raises(ValueError, match=r"skip='(conv1|head|6\.\*)' matches no module"):
        reparameterize(network, SPEC, skip=skip)
    assert not spectral_names(network)


def test_nothing_to_reparameterize_is_refused():
    for network, skip in ((nn.Sequential(nn.ReLU()), ()), (convolutional(), "*")):
        with pytest.raises(ValueError, match="network has nothing to reparameterize"):
            reparameterize(network, SPEC, skip=skip)
    network = reparameterize(convolutional(), SPEC)
    with pytest.raises(ValueError, match="network has nothing to reparameterize"):
        reparameterize(network, SPEC)


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match=r"spec must be STTP\(\.\.\.\) or SVDP\(\.\.\.\), got 'sttp'"):
        reparameterize(convolutional(), "sttp")
    with pytest.raises(ValueError, match=r"init must be None .* got 'haar'"):
        reparameterize(convolutional(), SPEC, init="haar")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_refused_with_the_cure(dtype):
    network = convolutional().to(dtype)
    with pytest.raises(TypeError, match=r"layer '0': .* must be float32 or float64, got torch\..*autocast"):
        reparameterize(network, SPEC)
    assert not spectral_names(network)
    spectral = reparameterize(convolutional(), SPEC)
    with pytest.raises(TypeError, match="must be float32 or float64, got torch"):
        spectral.to(dtype)
    assert all(frame.dtype == torch.float32 for w in spectral_weights(spectral).values() for frame in w.coordinates)


def test_a_refusal_leaves_the_network_whole():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 6))
    before = list(network)
    with pytest.raises(ValueError, match="layer '1': row_modes"):
        reparameterize(network, STTP(rank=2, modes=((2, 2), (2, 2))))
    assert list(network) == before
    assert not network._forward_pre_hooks


def test_second_call_takes_what_the_first_left():
    network = reparameterize(convolutional(), SPEC, skip=("3", "5"))
    first = network[0]
    reparameterize(network, SVDP(rank=3, frames=Householder(), spectrum=Lipschitz()))
    assert network[0] is first
    assert spectral_names(network) == ["0", "3.0", "3.1", "5"]
    assert network[5].spectral.manifold.geometry.name == "householder-reduced"
    assert network[0].spectral.manifold.geometry.name == "stiefel"
    assert len(network._forward_pre_hooks) == len(network._forward_hooks) == 1
    assert network(IMAGES).shape == (3, 5)


def test_a_single_layer_comes_back_as_a_new_one():
    plain = nn.Linear(6, 4)
    layer = reparameterize(plain, SPEC)
    assert type(layer) is layers.Linear
    assert layer.bias is plain.bias
    assert not plain._forward_pre_hooks
    assert type(decompress(layer)) is nn.Linear
    assert not decompress(layer)._forward_hooks


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_layers_keep_bias_hooks_and_mode():
    network = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)).eval()
    bias, seen = network[0].bias, []
    network[0].register_forward_pre_hook(lambda module, args, kwargs: seen.append("pre"), with_kwargs=True)
    network[0].register_forward_hook(lambda module, args, kwargs, out: out + 1, with_kwargs=True)
    network[0].register_full_backward_hook(lambda module, incoming, outgoing: seen.append("backward"))
    network[0].register_full_backward_pre_hook(lambda module, outgoing: seen.append("backward pre"))
    handle = network[1].register_forward_hook(lambda module, args, out: seen.append("removable"))
    network[1].train()
    reparameterize(network, SPEC)
    assert network[0].bias is bias
    assert (network[0].training, network[1].training, network[0].spectral.training) == (False, True, False)
    x = torch.randn(2, 6, requires_grad=True)
    torch.testing.assert_close(network[0](x), nn.functional.linear(x, network[0].weight, bias) + 1)
    network(x).sum().backward()
    assert set(seen) == {"pre", "backward", "backward pre", "removable"}
    handle.remove()
    seen.clear()
    network(x)
    assert "removable" not in seen


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_frozen_weights_stay_frozen(geometry):
    network = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    network[0].weight.requires_grad_(False)
    network[1].bias.requires_grad_(False)
    reparameterize(network, STTP(rank=2, frames=GEOMETRIES[geometry]))
    assert not any(p.requires_grad for p in network[0].spectral.parameters())
    assert all(p.requires_grad for p in network[1].spectral.parameters())
    assert not network[1].bias.requires_grad
    dense = decompress(network)
    assert [p.requires_grad for p in (dense[0].weight, dense[0].bias, dense[1].weight, dense[1].bias)] == [
        False,
        True,
        True,
        False,
    ]


def test_frames_are_manifold_parameters_after_every_move(tmp_path):
    def frames(network):
        return [frame for weight in spectral_weights(network).values() for frame in weight.coordinates]

    network = reparameterize(nn.Sequential(nn.Linear(6, 4)), STTP(rank=2, frames=Riemannian(redundant=False)))
    kinds = [type(frame.manifold) for frame in frames(network)]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.device("meta"):
        moved = reparameterize(nn.Sequential(nn.Linear(6, 4)), STTP(rank=2, frames=Riemannian(redundant=False)))
    moved.to_empty(device="cpu").load_state_dict(state)
    assigned = copy.deepcopy(network).requires_grad_(False)
    assigned.load_state_dict(state, assign=True)
    for other in (network.double().float(), copy.deepcopy(network), moved, assigned):
        assert all(isinstance(frame, geoopt.ManifoldParameter) for frame in frames(other))
        assert [type(frame.manifold) for frame in frames(other)] == kinds
        torch.testing.assert_close(other[0].weight, network[0].weight)
    assert not any(p.requires_grad for p in assigned.parameters())
    assert all(p.requires_grad for p in moved.parameters())


# --- what is shared -------------------------------------------------------------------------------------------------


def test_shared_modules_stay_shared():
    shared = nn.Linear(6, 6)
    network = nn.ModuleDict({"a": nn.Sequential(shared, nn.ReLU(), shared), "b": shared})
    reparameterize(network, SPEC)
    for version in (network, copy.deepcopy(network), decompress(network), decompress(copy.deepcopy(network))):
        assert version["a"][0] is version["a"][2] is version["b"]
    assert len(spectral_weights(network)) == 1
    assert len(spectral_weights(copy.deepcopy(network))) == 1


@pytest.mark.parametrize("init", [None, "weights"])
def test_tied_weights_stay_tied(init):
    network = reparameterize(Tied(), STTP(rank=4, initialization=Haar()), init=init)
    for version in (network, copy.deepcopy(network)):
        assert version.embedding.spectral is version.decoder.spectral
        torch.testing.assert_close(version.embedding.weight, version.decoder.weight)
    dense = decompress(network)
    assert dense.embedding.weight is dense.decoder.weight
    torch.testing.assert_close(dense(WORDS), network(WORDS), rtol=1e-5, atol=1e-6)
    assert len(dict(network.named_parameters())) == len({id(p) for p in network.parameters()})


def test_tied_embedding_with_a_padding_row_of_its_own_is_untied():
    network = reparameterize(Tied(padding_idx=2), SPEC, generator=generator())
    dense = decompress(network)
    torch.testing.assert_close(dense(WORDS), network(WORDS), rtol=1e-5, atol=1e-6)
    assert dense.embedding.weight is not dense.decoder.weight


def test_weights_tied_to_what_cannot_follow_are_refused():
    network = Tied()
    network.extra = network.decoder.weight
    with pytest.raises(ValueError, match=r"the weight of 'embedding' is also 'extra', .*untie"):
        reparameterize(network, SPEC)
    with pytest.raises(ValueError, match=r"the weight of 'decoder' is also 'embedding\.weight'"):
        reparameterize(Tied(), SPEC, skip="embedding")
    two = nn.ModuleList([nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 3)])
    two[1].weight = two[0].weight
    with pytest.raises(ValueError, match="share a weight but read it as different matrices"):
        reparameterize(two, SPEC)


# --- what fresh weights are, and fitted ones ------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("initialization", [Haar(), layers.NoisyIdentity(), layers.TruncatedIdentity()], ids=str)
def test_one_seed_gives_one_weight_in_every_geometry_and_precision(geometry, initialization):
    def weights(frames, dtype):
        spec = STTP(rank=2, frames=frames, initialization=initialization)
        network = reparameterize(convolutional().to(dtype), spec, generator=generator(11))
        return [weight.matrix().detach() for weight in spectral_weights(network).values()]

    reference = weights(GEOMETRIES["stiefel"], torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for weight, expected in zip(weights(GEOMETRIES[geometry], dtype), reference, strict=True):
            assert weight.dtype == dtype
            assert relative_error(weight, expected) < tolerance


def test_global_seed_draws_where_no_generator_is_given():
    def weight(seed):
        torch.manual_seed(seed)
        return reparameterize(nn.Linear(8, 8), SPEC).weight

    torch.testing.assert_close(weight(0), weight(0), rtol=0, atol=0)
    assert not torch.equal(weight(0), weight(1))


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_fresh_spectra_are_ones(spectrum):
    layer = reparameterize(nn.Linear(8, 6), SVDP(rank=3, spectrum=SPECTRA[spectrum]))
    assert layer.spectral.singular_values().tolist() == [1, 1, 1]
    assert layer.spectral.orthogonality_error() < 1e-6
    torch.testing.assert_close(torch.linalg.svdvals(layer.weight)[:3], torch.ones(3))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_init_from_weights_at_full_rank_keeps_the_outputs(geometry):
    network = convolutional().eval()
    expected = network(IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is dropped, so nothing is said
        reparameterize(network, STTP(rank=300, frames=GEOMETRIES[geometry]), init="weights")
    torch.testing.assert_close(network(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert max(weight.fit_error for weight in spectral_weights(network).values()) < 1e-6


def test_init_from_weights_reports_its_error():
    plain = nn.Linear(12, 8, dtype=torch.float64)
    layer = reparameterize(plain, SVDP(rank=3), init="weights")
    weight = plain.weight.detach()
    best = torch.linalg.svdvals(weight)[3:].norm() / weight.norm()
    torch.testing.assert_close(layer.spectral.fit_error, float(best))
    assert relative_error(layer.weight, weight) == pytest.approx(layer.spectral.fit_error)
    assert reparameterize(nn.Linear(4, 4), SPEC).spectral.fit_error is None


@pytest.mark.parametrize("spectrum", [Lipschitz(), Identity()], ids=["lipschitz", "identity"])
def test_dropped_scales_are_told_once(spectrum):
    network = convolutional()
    scale = torch.linalg.svdvals(network[5].weight.detach())
    with pytest.warns(UserWarning, match=r"drops it: 0 \(.*\), 3\.0 .*use Free\(\)") as caught:
        reparameterize(network, STTP(rank=300, spectrum=spectrum), init="weights")
    assert len(caught) == 1
    told = scale.max() if isinstance(spectrum, Lipschitz) else scale.square().mean().sqrt()
    assert f"5 ({told:.4g})" in str(caught[0].message)
    assert torch.linalg.svdvals(network[5].weight).max() <= 1 + 1e-5


def test_weights_that_are_not_finite_are_refused():
    network = nn.Sequential(nn.Linear(4, 4))
    network[0].weight.data[1, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        reparameterize(network, SPEC, init="weights")
    assert not spectral_names(network)


# --- back -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kind", [STTP, SVDP])
def test_decompressed_networks_give_equal_outputs(kind, geometry, spectrum):
    spec = kind(rank=3, frames=GEOMETRIES[geometry], spectrum=SPECTRA[spectrum], initialization=Haar())
    network = reparameterize(convolutional(), spec, generator=generator()).eval()
    dense = decompress(network)
    assert not spectral_names(dense)
    assert not dense._forward_hooks
    assert not dense._forward_pre_hooks
    assert [type(m) for m in dense.modules()] == [type(m) for m in convolutional().modules()]
    assert all(p.is_contiguous() for p in dense.parameters())
    assert relative_error(dense(IMAGES), network(IMAGES)) < 1e-5
    assert spectral_names(network) == ["0", "3.0", "3.1", "5"]
    assert list(dense.state_dict()) == list(convolutional().state_dict())


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"max_norm": 0.3}, {"padding_idx": 2, "max_norm": 0.5}])
def test_decompressed_embeddings_give_equal_outputs(options):
    network = reparameterize(nn.Sequential(nn.Embedding(10, 6, **options)), SPEC, generator=generator())
    dense = decompress(network)
    assert dense[0].extra_repr() == network[0].extra_repr()
    assert "bias" not in dense[0]._parameters
    torch.testing.assert_close(dense(WORDS), network(WORDS), rtol=1e-5, atol=1e-6)


def test_decompressed_layers_keep_their_hooks():
    network = reparameterize(nn.Sequential(nn.Linear(6, 4)), SPEC)
    network[0].register_forward_hook(lambda module, args, out: out.relu())
    dense = decompress(network)
    x = torch.randn(5, 6, generator=generator())
    torch.testing.assert_close(dense(x), network(x))
    assert (dense(x) >= 0).all()


def test_dense_network_has_nothing_to_decompress():
    with pytest.raises(ValueError, match="network has no spectral layer to decompress"):
        decompress(convolutional())


def test_a_round_trip_by_weights_is_the_identity():
    network = reparameterize(convolutional(), STTP(rank=4, initialization=Haar())).eval()
    again = reparameterize(decompress(network), STTP(rank=4, frames=Householder()), init="weights")
    torch.testing.assert_close(again(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_state_dict_names_speak_of_their_layers():
    network = reparameterize(convolutional(), SPEC)
    names = list(network.state_dict())
    assert any(name.startswith("3.0.spectral.coordinates.") for name in names)
    assert "5.spectral.spectrum" in names
    assert "5.bias" in names
    assert isinstance(network[5].spectral, SpectralWeight)
