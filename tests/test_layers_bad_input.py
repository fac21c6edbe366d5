"""Wrong arguments of the layers' functions and classes are refused by name, before anything is changed."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sttp import layers
from sttp.layers import (
    STTP,
    SVDP,
    Free,
    Haar,
    Initialization,
    NoisyIdentity,
    Riemannian,
    SpectralWeight,
    TruncatedIdentity,
    WeightShape,
)
from sttp.manifolds import SpectralTensorTrain, Stiefel

NAN, INFINITY = float("nan"), float("inf")


def plain():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.MultiheadAttention(6, 2))


def spectral():
    return layers.reparameterize(plain(), STTP(2))


def weight():
    shape = WeightShape((4, 6))
    return SpectralWeight(STTP(2).manifold(shape), shape).initialize(Haar(), torch.Generator())


def evaluated(network):
    with layers.shared_evaluation(network):
        pass


def drawn(kind):
    return lambda **arguments: kind().frame(**arguments)


SPEC = STTP(2)
GENERATOR = torch.Generator()
LAYER = {"spec": SPEC, "generator": GENERATOR}
CONVOLUTION = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1, **LAYER}
ATTENTION = {"embed_dim": 6, "num_heads": 2, "dropout": 0.0, "bias": True, "add_bias_kv": True, "kdim": 4, **LAYER}
FRAME = {"rows": 4, "columns": 2, "generator": GENERATOR}
SPECIFICATION = {
    "rank": 2,
    "frames": Riemannian(),
    "spectrum": Free(),
    "initialization": Haar(),
    "forward": "auto",
    "attention": "joint",
}
# Each function with right arguments, of which one after another is made a wrong one; functions make a network anew.
CALLS = {
    layers.reparameterize: {
        "network": plain,
        "spec": SPEC,
        "skip": (),
        "init": None,
        "generator": GENERATOR,
        "inplace": True,
    },
    layers.report: {"network": plain, "spec": SPEC, "skip": ()},
    layers.rank_for: {"network": plain, "z": 90.0, "spec": SPEC, "skip": ()},
    layers.ranks_for: {"network": plain, "spec": SPEC, "z": 90.0, "skip": ()},
    layers.decompress: {"network": spectral},
    layers.factorize: {"network": spectral, "skip": ()},
    layers.repair: {"network": spectral},
    layers.spectral_weights: {"network": spectral},
    layers.parametrized: {"network": spectral},
    evaluated: {"network": spectral},
    layers.candidates: {"network": plain, "skip": (), "attention": "joint"},
    layers.require_candidates: {"network": plain, "skip": (), "attention": "joint"},
    STTP: {**SPECIFICATION, "modes": ((2, 2), (2, 3)), "pad": False},
    SVDP: SPECIFICATION,
    SPEC.manifold: {"weight": WeightShape((4, 6))},
    NoisyIdentity: {"scale": 1e-4},
    drawn(NoisyIdentity): FRAME,
    drawn(Haar): FRAME,
    drawn(TruncatedIdentity): FRAME,
    WeightShape: {"shape": (4, 6), "groups": 2, "transposed": False},
    WeightShape.of: {"module": nn.Linear(4, 3)},
    SpectralWeight: {
        "manifold": SPEC.manifold(WeightShape((4, 6))),
        "weight_shape": WeightShape((4, 6)),
        "dtype": torch.float32,
        "device": "cpu",
    },
    layers.Linear: {"in_features": 4, "out_features": 6, "bias": True, **LAYER},
    layers.Embedding: {"num_embeddings": 9, "embedding_dim": 4, "padding_idx": 1, "max_norm": 2.0, **LAYER},
    layers.Conv1d: {**CONVOLUTION, "groups": 2, "padding_mode": "zeros"},
    layers.Conv2d: {**CONVOLUTION, "groups": 2, "padding_mode": "zeros"},
    layers.ConvTranspose2d: {**CONVOLUTION, "groups": 2, "output_padding": 0},
    layers.MultiheadAttention: ATTENTION,
    layers.Linear.of: {"layer": nn.Linear(6, 4), "spectral": weight(), "forward": "cores"},
    layers.Linear.fresh: {"layer": nn.Linear(6, 4), "spec": SPEC, "generator": GENERATOR},
    layers.Linear(6, 4, spec=SPEC).route: {"number": 3},
    WeightShape((4, 6)).to_matrix: {"weight": torch.ones(4, 6)},
    WeightShape((4, 6)).to_weight: {"matrix": torch.ones(4, 6)},
    weight().fit: {"weight": torch.ones(4, 6)},
    weight().set_point: {"point": weight().manifold.random()},
    weight().initialize: {"initialization": Haar(), "generator": GENERATOR},
    layers.manifold_parameter: {"values": torch.eye(6, 3), "manifold": Stiefel()},
}
WRONG = {
    "none": None,
    "text": "text",
    "empty-text": "",
    "digit": "3",
    "bytes": b"abc",
    "minus": -1,
    "zero": 0,
    "three": 3,
    "huge": 10**30,
    "half": 2.5,
    "minus-half": -0.5,
    "nan": NAN,
    "infinity": INFINITY,
    "true": True,
    "complex": 1j,
    "list": [],
    "mixed": [1, "a"],
    "pair": (2, 3),
    "nested": ((1, 2), "x"),
    "dict": {"a": 1},
    "set": {1},
    "object": object(),
    "class": nn.Linear,
    "module": nn.ReLU(),
    "layer": nn.Linear(2, 3),
    "tensor": torch.zeros(2, 3),
    "sparse": torch.eye(4, 6).to_sparse(),
    "meta": torch.ones(4, 6, device="meta"),
    "nan-tensor": torch.full((4, 6), NAN),
    "lazy": nn.UninitializedParameter(),
    "missing-device": torch.device("cuda", 99),
    "array": np.zeros(3),
    "array-of-text": np.array(["a", "b"]),
    "lambda": lambda *_: 3,
    "spec": STTP,
    "train": SpectralTensorTrain,
    "generator": torch.Generator(),
    "dtype": torch.int64,
    "low": torch.bfloat16,
    "device": torch.device("cpu"),
}


def outcome(function, right, argument, wrong):
    """Return "success", "refused" or what was obscure of a call with one wrong argument, and its network."""
    arguments = {name: value() if value in (plain, spectral) else value for name, value in right.items()}
    arguments[argument] = wrong
    network = arguments.get("network")
    before = list(network.modules()) if isinstance(network, nn.Module) else []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**arguments)
    except (TypeError, ValueError) as error:
        if isinstance(network, nn.Module):
            assert list(network.modules()) == before, "a refused call has changed the network"
        return "refused" if argument in str(error) else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "success"


def test_the_right_arguments_are_right():
    for function, right in CALLS.items():
        argument, value = next(iter(right.items()))
        good = value() if value in (plain, spectral) else value
        assert outcome(function, right, argument, good) == "success", function


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.data())
def test_wrong_arguments_are_refused_by_name(data):
    function = data.draw(st.sampled_from(list(CALLS)))
    argument = data.draw(st.sampled_from(list(CALLS[function])))
    wrong = data.draw(st.sampled_from(list(WRONG)))
    found = outcome(function, CALLS[function], argument, WRONG[wrong])
    assert found in ("success", "refused"), (function, argument, wrong, found)


@pytest.mark.parametrize(
    "call",
    [
        lambda: layers.reparameterize(plain(), SPEC, skip=3),
        lambda: layers.reparameterize(plain(), SPEC, inplace="no"),
        lambda: layers.rank_for(plain(), "3", SPEC),
        lambda: layers.Linear(4, 3, spec="stttp"),
        lambda: layers.MultiheadAttention(6, 4, spec=SPEC),
        lambda: NoisyIdentity("x"),
        lambda: NoisyIdentity(NAN),
        lambda: WeightShape((4,)),
        lambda: WeightShape((4, -2)),
        lambda: STTP(2, attention="both"),
        lambda: Haar().frame(2, 3),
        lambda: layers.report(nn.Linear),
    ],
)
def test_these_are_refused_and_not_taken(call):
    with pytest.raises((TypeError, ValueError), match=r"must be|is refused|must have|must divide"):
        call()


def test_an_initialization_of_ones_own_is_taken():
    class Ones(Initialization):
        def frame(self, rows, columns, generator=None):
            return torch.eye(rows, columns, dtype=torch.float64)

    assert layers.Linear(4, 3, spec=STTP(2, initialization=Ones())).weight.shape == (3, 4)
