"""Reparameterized networks on disk: safetensors and a JSON description, rebuilt from the plain network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final, cast

from safetensors import SafetensorError, safe_open
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
from ._atomic_write import write_atomically
from ._candidates import candidates_named
from ._conversion import replace_layers
from ._evaluation import attach
from ._plan import Forward, require_forward
from ._repair import repair as project_frames
from ._spectral_layer import SpectralLayer
from ._spectral_weight import SpectralWeight, spectral_weights

TENSORS: Final = "model.safetensors"
DESCRIPTION: Final = "sttp.json"
FORMAT: Final = 1

_KINDS: Final[dict[str, Callable[..., Any]]] = {
    kind.__name__: kind
    for kind in (QR, Polar, Cayley, Exponential, Riemannian, Householder, Free, Lipschitz, Identity, TrainShape)
}


def save(network: nn.Module, directory: str | os.PathLike[str]) -> None:
    """Write a reparameterized network to a folder: ``model.safetensors`` and ``sttp.json``, each atomically.

    The tensors carry the description as well, so that a kill between the two files loses neither network.

    Raises:
        ValueError: the network has no spectral layer, or uses a geometry that is not this toolkit's.
    """
    layers = {
        name: {
            "shape": _encode(weight.manifold.shape),
            "geometry": _encode(weight.manifold.geometry),
            "spectrum": _encode(weight.manifold.spectrum),
            "fit_error": weight.fit_error,
            "forward": cast(SpectralLayer, network.get_submodule(name)).plan.forward,
        }
        for name, weight in spectral_weights(network).items()
    }
    if not layers:
        raise ValueError(f"network has no spectral layer to save: {type(network).__name__} is dense; use torch.save")
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "layers": layers}, indent=1)
    write_atomically(folder / TENSORS, lambda path: save_model(network, str(path), {DESCRIPTION: text}))
    write_atomically(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def load(network: nn.Module, directory: str | os.PathLike[str], *, repair: bool = False) -> nn.Module:
    """Rebuild a saved network from the plain one, in place: its layers are replaced and all tensors read.

    Args:
        network: the network as it was before :func:`~sttp.layers.reparameterize`, with any weights.
        directory: the folder that :func:`save` wrote.
        repair: project frames that are off their manifold, as a file that was rounded has them.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the folder or a file in it is missing.
        ValueError: the description cannot be read, or does not fit the network, or frames are off their manifold.
    """
    tensors = Path(directory) / TENSORS
    try:
        saved = _layers((Path(directory) / DESCRIPTION).read_text(encoding="utf-8"))
        with safe_open(tensors, "pt") as file:
            own = (file.metadata() or {}).get(DESCRIPTION)
        if own is not None:  # what the tensors say of themselves counts: see save
            saved = _layers(own)
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(
            f"directory={str(directory)!r} has no description of a network in {DESCRIPTION}, or no tensors in "
            f"{TENSORS} ({type(error).__name__}: {error}); pass a folder that save() wrote"
        ) from None
    found = candidates_named(network, saved)
    for name, (manifold, _, _) in saved.items():
        if name not in found:
            raise ValueError(f"network has no layer {name!r} as the saved one has; pass the network it was made from")
        shape = found[name].shape
        if (shape.rows, shape.columns) != (manifold.shape.rows, manifold.shape.columns):
            raise ValueError(
                f"layer {name!r} has a {shape.rows} x {shape.columns} weight, the saved one "
                f"{manifold.shape.rows} x {manifold.shape.columns}; pass the network it was made from"
            )
    for name, (manifold, fit_error, forward) in saved.items():
        candidate = found[name]
        weight = SpectralWeight(manifold, candidate.shape, candidate.weight.dtype, candidate.weight.device)
        weight.fit_error = fit_error
        weight.refuses_infeasible = not repair
        weight.requires_grad_(candidate.weight.requires_grad)
        network = replace_layers(network, candidate, weight, forward)
    attach(network)
    try:
        load_model(network, str(tensors))
    except RuntimeError as error:
        raise ValueError(f"network does not fit {str(tensors)!r}: {error}") from None
    finally:
        for weight in spectral_weights(network).values():
            weight.refuses_infeasible = True
    if repair:
        project_frames(network)
    return network


def _layers(text: str) -> dict[str, tuple[SpectralTensorTrain, float | None, Forward]]:
    """Return manifold, fit error and way of forward of each layer that a description names."""
    description = json.loads(text)
    if description["format"] != FORMAT:
        raise ValueError(f"format {description['format']!r}, where this version reads {FORMAT}")
    return {
        name: (
            SpectralTensorTrain(*(_decode(layer[key]) for key in ("shape", "geometry", "spectrum"))),
            layer["fit_error"],
            _forward(layer.get("forward", "auto")),
        )
        for name, layer in description["layers"].items()
    }


def _forward(name: Forward) -> Forward:
    require_forward(name)
    return name


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
