"""Reparameterized networks on disk: safetensors and a JSON description, rebuilt from the plain network."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load_model, save_model
from torch import nn

from ..manifolds import (
    QR,
    Cayley,
    Exponential,
    Free,
    Householder,
    Identity,
    Lipschitz,
    Polar,
    Riemannian,
    SpectralTensorTrain,
    TrainShape,
)
from .conversion import candidates, replace_layers
from .evaluation import attach
from .spectral_weight import SpectralWeight, spectral_weights

TENSORS: Final = "model.safetensors"
DESCRIPTION: Final = "sttp.json"
FORMAT: Final = 1

_KINDS: Final[dict[str, Callable[..., Any]]] = {
    kind.__name__: kind
    for kind in (QR, Polar, Cayley, Exponential, Riemannian, Householder, Free, Lipschitz, Identity, TrainShape)
}


def save(network: nn.Module, directory: str | os.PathLike[str]) -> None:
    """Write a reparameterized network to a folder: ``model.safetensors`` and ``sttp.json``, each atomically.

    Raises:
        ValueError: the network has no spectral layer, or uses a geometry that is not this toolkit's.
    """
    layers = {
        name: {
            "shape": _encode(weight.manifold.shape),
            "geometry": _encode(weight.manifold.geometry),
            "spectrum": _encode(weight.manifold.spectrum),
            "fit_error": weight.fit_error,
        }
        for name, weight in spectral_weights(network).items()
    }
    if not layers:
        raise ValueError(f"network has no spectral layer to save: {type(network).__name__} is dense; use torch.save")
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "layers": layers}, indent=1)
    _write(folder / TENSORS, lambda path: save_model(network, str(path)))
    _write(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def load(network: nn.Module, directory: str | os.PathLike[str]) -> nn.Module:
    """Rebuild a saved network from the plain one, in place: its layers are replaced and all tensors read.

    Args:
        network: the network as it was before :func:`~sttp.layers.reparameterize`, with any weights.
        directory: the folder that :func:`save` wrote.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the folder or a file in it is missing.
        ValueError: the description cannot be read, or does not fit the network.
    """
    path = Path(directory) / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        saved = {name: _manifold(layer) for name, layer in description["layers"].items()}
        errors = {name: layer["fit_error"] for name, layer in description["layers"].items()}
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"directory={str(directory)!r}: {DESCRIPTION} is no description of a network ({error})"
        ) from None
    if description["format"] != FORMAT:
        raise ValueError(
            f"directory={str(directory)!r} has format {description['format']!r}, this version reads {FORMAT}"
        )
    found = {name: candidate for candidate in candidates(network) for name in candidate.names}
    for name, manifold in saved.items():
        if name not in found:
            raise ValueError(f"network has no layer {name!r} as the saved one has; pass the network it was made from")
        shape = found[name].shape
        if (shape.rows, shape.columns) != (manifold.shape.rows, manifold.shape.columns):
            raise ValueError(
                f"layer {name!r} has a {shape.rows} x {shape.columns} weight, the saved one "
                f"{manifold.shape.rows} x {manifold.shape.columns}; pass the network it was made from"
            )
    for name, manifold in saved.items():
        candidate = found[name]
        weight = SpectralWeight(manifold, candidate.shape, candidate.weight.dtype, candidate.weight.device)
        weight.fit_error = errors[name]
        network = replace_layers(network, candidate, weight.requires_grad_(candidate.weight.requires_grad))
    attach(network)
    load_model(network, str(Path(directory) / TENSORS))
    return network


def _manifold(layer: dict[str, Any]) -> SpectralTensorTrain:
    return SpectralTensorTrain(*(_decode(layer[key]) for key in ("shape", "geometry", "spectrum")))


def _encode(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        if kind not in _KINDS:
            raise ValueError(
                f"{value!r} cannot be saved: only this toolkit's own geometries, retractions and spectra can"
            )
        return {"kind": kind, **{field.name: _encode(getattr(value, field.name)) for field in fields(value)}}
    return list(value) if isinstance(value, tuple) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        arguments = {name: _decode(item) for name, item in value.items() if name != "kind"}
        return _KINDS[value["kind"]](**arguments)
    return tuple(value) if isinstance(value, list) else value


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, flush it to the disk, and move it to its place."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
