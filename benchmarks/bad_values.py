"""Wrong arguments: things of another kind, and the right value with something wrong about it. All are made anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geoopt
import numpy as np
import torch
from torch import Tensor, nn

from sttp.layers import STTP, Linear
from sttp.manifolds import (
    QR,
    Free,
    Lipschitz,
    Riemannian,
    SpectralTensorTrain,
    Stiefel,
    TrainPoint,
    TrainShape,
    TrainTangent,
)

Maker = Callable[[], Any]
HUGE = 10**30


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _sparse() -> Tensor:
    return torch.eye(6, 3).to_sparse()


def _nested() -> Tensor:
    return torch.nested.nested_tensor([torch.ones(6, 3), torch.ones(5, 3)])


def _product() -> Tensor:
    return torch.eye(6, 3).requires_grad_() * 2


def _network(dtype: torch.dtype) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6, dtype=dtype), nn.ReLU())


def _diverged() -> nn.Module:
    layer = nn.Linear(4, 6)
    with torch.no_grad():
        layer.weight.fill_(math.nan)
    return layer


# What is of another kind for most arguments, by name.
KINDS: dict[str, Maker] = {
    "None": lambda: None,
    "''": lambda: "",
    "'text'": lambda: "text",
    "'3'": lambda: "3",
    "bytes": lambda: b"abc",
    "-1": lambda: -1,
    "0": lambda: 0,
    "3": lambda: 3,
    "10**30": lambda: HUGE,
    "2.5": lambda: 2.5,
    "-0.5": lambda: -0.5,
    "1e300": lambda: 1e300,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "-inf": lambda: -math.inf,
    "True": lambda: True,
    "1j": lambda: 1j,
    "[]": list,
    "{}": dict,
    "set": lambda: {1},
    "pair": lambda: (2, 3),
    "mixed list": lambda: [1, "a"],
    "list of None": lambda: [None],
    "nested pair": lambda: ((1, 2), "x"),
    "dict": lambda: {"a": 1},
    "dict of params": lambda: {"params": [torch.ones(2)], "lr": "x"},
    "exhausted iterator": lambda: iter(()),
    "range": lambda: range(3),
    "object": object,
    "exception": lambda: ValueError("x"),
    "class of modules": lambda: nn.Linear,
    "class": lambda: int,
    "function": lambda: lambda *_, **__: 3,
    "module": nn.ReLU,
    "plain layer": lambda: nn.Linear(2, 3),
    "layer of half precision": lambda: _network(torch.float16),
    "layer of complex numbers": lambda: _network(torch.complex64),
    "layer on meta": lambda: nn.Linear(4, 6, device="meta"),
    "lazy layer": lambda: nn.LazyLinear(3),
    "layer without values": _diverged,
    "layer without rows": lambda: nn.Sequential(nn.Conv1d(4, 4, 1), nn.ReLU(), nn.Identity()),
    "empty network": nn.Sequential,
    "spectral layer": lambda: Linear(4, 6, spec=STTP(2), generator=_generator()),
    "recurrent layer": lambda: nn.LSTM(3, 2),
    "scalar": lambda: torch.tensor(3.0),
    "vector": lambda: torch.ones(3),
    "wide matrix": lambda: torch.ones(2, 3),
    "empty matrix": lambda: torch.zeros(0, 3),
    "integers": lambda: torch.ones(6, 3, dtype=torch.int64),
    "truth values": lambda: torch.ones(6, 3, dtype=torch.bool),
    "half precision": lambda: torch.eye(6, 3, dtype=torch.float16),
    "complex": lambda: torch.eye(6, 3, dtype=torch.complex64),
    "sparse": _sparse,
    "sparse rows": lambda: torch.eye(6, 3).to_sparse_csr(),
    "nested": _nested,
    "on meta": lambda: torch.ones(6, 3, device="meta"),
    "with gradient": lambda: torch.eye(6, 3).requires_grad_(),
    "no leaf": _product,
    "manifold parameter": lambda: geoopt.ManifoldParameter(torch.eye(6, 3), manifold=Stiefel()),
    "lazy parameter": lambda: nn.UninitializedParameter(),
    "array": lambda: np.zeros(3),
    "array of text": lambda: np.array(["a", "b"]),
    "float of numpy": lambda: np.float32(0.1),
    "generator": _generator,
    "dtype of integers": lambda: torch.int64,
    "low dtype": lambda: torch.bfloat16,
    "device": lambda: torch.device("cpu"),
    "missing device": lambda: torch.device("cuda", 99),
    "class of specifications": lambda: STTP,
    "specification": lambda: STTP(2),
    "class of retractions": lambda: QR,
    "retraction": QR,
    "geometry": Riemannian,
    "spectrum": Free,
    "manifold": Stiefel,
    "manifold of geoopt": lambda: geoopt.Sphere(),
    "class of trains": lambda: SpectralTensorTrain,
    "train": lambda: SpectralTensorTrain(TrainShape((2,), (3,), 2), spectrum=Lipschitz()),
    "missing path": lambda: Path("/nowhere/at/all"),
}


def variants(value: Any) -> dict[str, Maker]:
    """Return the right value with something wrong about it."""
    if isinstance(value, Tensor):
        return _tensors(value.detach())
    if isinstance(value, bool | str | type(None)):
        return {"text of it": lambda: str(value), "list of it": lambda: [value]}
    if isinstance(value, int | float):
        numbers = {"negative": -value, "text of it": str(value), "imaginary": value * 1j, "a half more": value + 0.5}
        return {name: (lambda number=number: number) for name, number in numbers.items()} | {
            "list of it": lambda: [value],
            "array of it": lambda: np.array([value]),
            "tensor of it": lambda: torch.tensor(value),
            "tensor of two": lambda: torch.tensor([value, value]),
            "tensor with gradient": lambda: torch.tensor(float(value), requires_grad=True),
        }
    if isinstance(value, tuple | list):
        kind = type(value)
        return {
            "text in it": lambda: kind(["a", *value[1:]]),
            "NaN in it": lambda: kind([*value[:-1], math.nan]),
            "None in it": lambda: kind([*value, None]),
            "too long": lambda: kind([*value, *value]),
            "too short": lambda: kind(value[1:]),
            "negative in it": lambda: kind([*value[:-1], -2]),
            "nested": lambda: kind([value]),
            "set of it": lambda: set(map(str, value)),
            "tensor in it": lambda: kind([*value[:-1], torch.ones(2)]),
        }
    if isinstance(value, nn.Module):
        return {"class of it": lambda: type(value), "list of it": lambda: [value], "its state": value.state_dict}
    if isinstance(value, dict):
        return {
            "texts for values": lambda: dict.fromkeys(value, "x"),
            "numbers for values": lambda: dict.fromkeys(value, 3),
            "without a key": lambda: dict(list(value.items())[1:]),
            "numbers for keys": lambda: dict(enumerate(value.values())),
        }
    if isinstance(value, TrainPoint | TrainTangent):
        return _of_train(value)
    return {"class of it": lambda: type(value), "list of it": lambda: [value], "text of it": lambda: str(value)}


def _of_train(value: Any) -> dict[str, Maker]:
    first, *rest = value.coordinates
    return {
        "class of it": lambda: type(value),
        "list of it": lambda: [value],
        "a coordinate less": lambda: replace(value, coordinates=value.coordinates[1:]),
        "coordinates in a list": lambda: replace(value, coordinates=list(value.coordinates)),
        "no coordinates": lambda: replace(value, coordinates=None),
        "None in it": lambda: replace(value, coordinates=(None, *rest)),
        "another shape": lambda: replace(value, coordinates=(torch.cat([first, first], dim=-1), *rest)),
        "a batch in it": lambda: replace(value, coordinates=(torch.stack([first, first]), *rest)),
        "float32 in it": lambda: replace(value, coordinates=(first.float(), *rest)),
        "integers in it": lambda: replace(value, coordinates=(first.long(), *rest)),
        "NaN in it": lambda: replace(value, coordinates=(torch.full_like(first, math.nan), *rest)),
        "longer spectrum": lambda: replace(value, spectrum=torch.cat([value.spectrum, value.spectrum])),
        "spectrum of text": lambda: replace(value, spectrum="x"),
        "NaN in the spectrum": lambda: replace(value, spectrum=torch.full_like(value.spectrum, math.nan)),
        **({"no signs": lambda: replace(value, signs=())} if isinstance(value, TrainPoint) else {}),
    }


def _tensors(value: Tensor) -> dict[str, Maker]:
    makers: dict[str, Maker] = {
        "NaN": lambda: torch.full_like(value, math.nan),
        "infinite": lambda: torch.full_like(value, math.inf),
        "one NaN": lambda: torch.where(torch.arange(value.numel()).reshape(value.shape) == 0, math.nan, value),
        "zero": lambda: torch.zeros_like(value),
        "huge": lambda: value * 1e30,
        "tiny": lambda: value * 1e-40,
        "a dimension more": lambda: value.unsqueeze(0).repeat(2, *[1] * value.dim()),
        "flat": lambda: value.flatten(),
        "one number": lambda: value.flatten()[0] if value.numel() else value.sum(),
        "no items": lambda: value[:0],
        "longer": lambda: torch.cat([value, value], dim=-1) if value.dim() else value.expand(2),
        "as list": value.tolist,
        "as array": value.numpy,
        "list of it": lambda: [value],
        "with gradient": lambda: value.clone().requires_grad_(),
        "no leaf": lambda: value.clone().requires_grad_() * 1,
        "parameter": lambda: nn.Parameter(value.clone(), requires_grad=value.is_floating_point()),
        "on meta": lambda: value.to("meta"),
        "sparse": value.to_sparse,
    }
    if value.dim() >= 2:
        makers |= {
            "transposed": lambda: value.mT,
            "a column less": lambda: value[..., 1:],
            "a row more": lambda: torch.cat([value, value[..., :1, :]], dim=-2),
            "no columns": lambda: value[..., :0],
            "no rows": lambda: value[..., :0, :],
            "a manifold's": lambda: geoopt.ManifoldTensor(value.clone(), manifold=geoopt.Euclidean(2)),
        }
    for dtype in (
        torch.int64,
        torch.bool,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex128,
    ):
        if dtype != value.dtype:
            makers[str(dtype)] = lambda dtype=dtype: value.to(dtype)
    return makers
