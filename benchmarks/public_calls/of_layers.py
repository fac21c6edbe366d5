"""Right calls of what ``sttp.layers`` has to offer."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sttp import layers
from sttp.layers import STTP, SVDP, SpectralWeight, WeightShape, reparameterize
from sttp.manifolds import (
    Free,
    Riemannian,
    Stiefel,
)

from .call import Call, Maker, fixed, frame, generator, values

SPEC = STTP(2)
SPECIFICATION = {
    "rank": 2,
    "frames": Riemannian(),
    "spectrum": Free(),
    "initialization": layers.Haar(),
    "forward": "auto",
    "attention": "joint",
}


def _plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.MultiheadAttention(6, 2))


def spectral_network() -> nn.Module:
    return reparameterize(_plain(), SPEC, generator=generator())


def _weight() -> SpectralWeight:
    shape = WeightShape((4, 6))
    return SpectralWeight(SPEC.manifold(shape), shape).initialize(layers.Haar(), generator())


def calls(folder: Path) -> Iterator[Call]:
    call = functools.partial(Call, "layers")
    plain, spectral = {"network": _plain}, {"network": spectral_network}
    yield call(
        "reparameterize",
        reparameterize,
        {**plain, **values(spec=SPEC, skip=(), init="weights", inplace=True), "generator": generator},
        ("network",),
    )
    calibrated = {**_calibrated(), **values(spec=SPEC, init="weights", order="sequential")}
    yield call("reparameterize by data", reparameterize, calibrated, ("network",))
    beside = {"network": _siblings, "spec": fixed(SPEC), "joint": fixed(("*",))}
    yield call("reparameterize jointly", reparameterize, beside, ("network",))
    yield call("report", layers.report, {**plain, **values(spec=SPEC, skip=())})
    yield call("report of a spectral one", layers.report, spectral)
    yield call("rank_for", layers.rank_for, {**plain, **values(z=95.0, spec=SPEC, skip=("2*",), joint=())})
    yield call("ranks_for", layers.ranks_for, {**_calibrated(), **values(z=95.0, spec=SPEC, skip=(), joint=())})
    yield call("decompress", layers.decompress, spectral)
    yield call("factorize", layers.factorize, {**spectral, "skip": fixed(("0",))})
    yield call("repair", layers.repair, spectral, ("network",))
    yield call("parametrized", layers.parametrized, spectral, ("network",))
    yield call("spectral_weights", layers.spectral_weights, spectral)
    yield call("shared_evaluation", _evaluated, spectral)
    for name in ("evaluate_together", "evaluate_apart"):
        yield call(name, getattr(layers, name), spectral, ("network",))
    for name in ("candidates", "require_candidates"):
        yield call(name, getattr(layers, name), {**plain, **values(skip=(), attention="joint")})
    layers.save(spectral_network(), folder / "saved")
    yield call("save", layers.save, {**spectral, "directory": lambda: tempfile.mkdtemp(dir=folder)})
    read = {**plain, **values(directory=folder / "saved", repair=True)}
    yield call("load", layers.load, read, ("network",))
    written = {"path": lambda: Path(tempfile.mkdtemp(dir=folder)) / "file", "write": lambda: Path.touch}
    yield call("write_atomically", layers.write_atomically, written)
    yield call("STTP", STTP, values(**SPECIFICATION, modes=((2, 2), (2, 3)), pad=False))
    yield call("SVDP", SVDP, values(**SPECIFICATION))
    yield call(
        "STTP by layers", STTP, values(rank={"*": 2}, tolerance={"*": 0.1}, modes={"0": "auto", "*": "balanced"})
    )
    yield call("ByLayer", layers.ByLayer, values(argument="values", values={"*": 2}))
    for method in ("manifold", "shape"):
        yield call(f"STTP.{method}", getattr(SPEC, method), values(weight=WeightShape((4, 6))))
    yield call("NoisyIdentity", layers.NoisyIdentity, values(scale=1e-4))
    for initialization in (layers.NoisyIdentity(), layers.Haar(), layers.TruncatedIdentity()):
        drawn = {**values(rows=4, columns=2), "generator": generator}
        yield call(f"{type(initialization).__name__}.frame", initialization.frame, drawn)
    yield call("manifold_parameter", layers.manifold_parameter, {"values": frame, "manifold": Stiefel})
    yield from _weights()
    yield from _constructors()


def _calibrated() -> dict[str, Maker]:
    """Return a network, and data that it is calibrated on."""
    return {"network": lambda: nn.Sequential(nn.Linear(4, 6)), "calibration": lambda: [torch.eye(4)]}


def _siblings() -> nn.Module:
    return nn.ModuleList([nn.Linear(4, 6), nn.Linear(4, 3)])


def _evaluated(network: Any) -> None:
    with layers.shared_evaluation(network):
        pass


def _weights() -> Iterator[Call]:
    call = functools.partial(Call, "layers")
    yield call("WeightShape", WeightShape, values(shape=(4, 6, 3), groups=2, transposed=True))
    yield call("WeightShape.of", WeightShape.of, {"module": lambda: nn.Linear(4, 3)})
    shape = WeightShape((4, 6, 3), groups=2, transposed=True)
    yield call("WeightShape.to_matrix", shape.to_matrix, {"weight": lambda: torch.ones(4, 6, 3)})
    yield call("WeightShape.to_weight", shape.to_weight, {"matrix": lambda: torch.ones(12, 6)})
    train = SPEC.manifold(WeightShape((4, 6)))
    parts = {"manifold": train, "weight_shape": WeightShape((4, 6)), "dtype": torch.float32, "device": "cpu"}
    yield call("SpectralWeight", SpectralWeight, values(**parts))

    drawn = {"weight": _weight, "initialization": fixed(layers.Haar()), "generator": generator}
    yield _bound("SpectralWeight.initialize", "initialize", drawn)
    yield _bound("SpectralWeight.set_point", "set_point", {"point": train.random})
    yield _bound("SpectralWeight.fit", "fit", {"weight": lambda: torch.ones(4, 6)})
    yield call("layer.weight =", _assigned, {"weight": lambda: torch.ones(4, 6)})
    for layer in (layers.Linear, layers.Conv2d):
        arguments = (6, 4) if layer is layers.Linear else (6, 4, 3)
        namesake = functools.partial(layer.namesake, *arguments)
        fresh = {"layer": namesake, "spec": fixed(SPEC), "generator": generator}
        yield call(f"{layer.__name__}.fresh", layer.fresh, fresh)
    of = {"layer": lambda: nn.Linear(6, 4), "spectral": _weight, "forward": fixed("cores")}
    yield call("Linear.of", layers.Linear.of, of)
    yield call("Linear.route", layers.Linear(6, 4, spec=SPEC).route, values(number=3))


def _bound(name: str, method: str, right: dict[str, Maker]) -> Call:
    right = {key: maker for key, maker in right.items() if maker is not _weight}
    return Call("layers", name, lambda **arguments: getattr(_weight(), method)(**arguments), right)


def _assigned(weight: Any) -> None:
    layers.Linear(6, 4, spec=SPEC).weight = weight


def _constructors() -> Iterator[Call]:
    call = functools.partial(Call, "layers")
    common = {"spec": fixed(SPEC), "generator": generator}
    features = values(in_features=4, out_features=6, bias=True, device="cpu", dtype=torch.float32)
    yield call("Linear", layers.Linear, {**features, **common})
    table = values(num_embeddings=9, embedding_dim=4, padding_idx=1, max_norm=2.0, norm_type=2.0, sparse=False)
    yield call("Embedding", layers.Embedding, {**table, **common})
    window = {"kernel_size": 3, "stride": 1, "padding": 0, "dilation": 1, "groups": 2, "bias": True}
    for dimensions in (1, 2, 3):
        sizes = values(in_channels=4, out_channels=6, **window)
        for name, option in (("Conv", {"padding_mode": "zeros"}), ("ConvTranspose", {"output_padding": 0})):
            kind = getattr(layers, f"{name}{dimensions}d")
            yield call(kind.__name__, kind, {**sizes, **values(**option), **common})
    heads = values(embed_dim=6, num_heads=2, dropout=0.0, bias=True, add_bias_kv=True, kdim=4, batch_first=True)
    yield call("MultiheadAttention", layers.MultiheadAttention, {**heads, **common})
