"""Adapters alone on disk: safetensors and a JSON description, without the network that they change."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save_file
from torch import Tensor, nn

from ..layers import write_atomically
from ..manifolds import require_instance
from ._adapt import attach_changes, require_adapted, require_free, require_name
from ._adapted_layer import AdaptedLayer, Attachment
from ._adapter import Adapter
from ._change import Change
from ._register import adapter_of, describe
from ._targets import Target, every_target, require_adaptable

TENSORS: Final = "adapter.safetensors"
DESCRIPTION: Final = "adapter.json"
FORMAT: Final = 1


def save(network: nn.Module, directory: str | os.PathLike[str], name: str = "default") -> None:
    """Write one adapter of a network to a folder: ``adapter.safetensors`` and ``adapter.json``, each atomically.

    Args:
        network: the adapted network, merged or not.
        directory: the folder, which is made where it is not there.
        name: of the adapter.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the network has no such adapter, or its class is not registered.
        OSError: the folder cannot be written.
    """
    require_instance("directory", directory, str | os.PathLike, "a path")  # type: ignore[arg-type]
    layers = {n: layer for n, layer in require_adapted(network, (name,)).items() if name in layer.attachments}
    groups: dict[int, tuple[Adapter, list[str]]] = {}
    taken: set[int] = set()
    for place, layer in layers.items():
        if id(layer.changes[name]) not in taken:
            taken.add(id(layer.changes[name]))
            attachment = layer.attachments[name]
            groups.setdefault(id(attachment), (attachment.adapter, []))[1].append(place)
    tensors: dict[str, Tensor] = {}
    for _, places in groups.values():
        tensors.update(_state({place: _change(layers[place], name) for place in places}))
    description = {
        "format": FORMAT,
        "groups": [{"adapter": describe(adapter), "layers": places} for adapter, places in groups.values()],
        "shapes": {place: list(layers[place].weight_shape.shape) for _, places in groups.values() for place in places},
        "base": _digest([layers[place].matrix(()) for _, places in groups.values() for place in places]),
    }
    text = json.dumps(description, indent=1)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    values = {key: tensor.detach().contiguous().clone() for key, tensor in tensors.items()}
    write_atomically(folder / TENSORS, lambda path: save_file(values, path, {DESCRIPTION: text}))
    write_atomically(folder / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def load(network: nn.Module, directory: str | os.PathLike[str], name: str = "default") -> nn.Module:
    """Attach a saved adapter to the base that it was trained on, in place; it is then the active one.

    What the tensors' file says of itself counts, so that a kill during a save leaves the old adapter or the new one.

    Args:
        network: the base, with or without other adapters.
        directory: the folder that :func:`save` wrote.
        name: what the adapter is to be called.

    Returns:
        The network.

    Raises:
        TypeError: an argument is of a wrong type.
        FileNotFoundError: the folder or a file in it is missing.
        ValueError: the files cannot be read, or the adapter is one of another base. Nothing is changed then.
    """
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    require_instance("directory", directory, str | os.PathLike, "a path")  # type: ignore[arg-type]
    require_name(name)
    tensors, description = _read(Path(directory))
    parts: list[tuple[list[Target], list[Change], Adapter]] = []
    bases: list[Tensor] = []
    for group in description["groups"]:
        adapter, places = adapter_of(group["adapter"]), group["layers"]
        chosen = _targets_named(network, places, description["shapes"])
        require_free(network, chosen, name)
        weights = [target.frozen() for target in chosen]
        bases += [weight.matrix for weight in weights]
        # The values that are drawn are not those that count.
        parts.append((chosen, adapter.changes(weights, torch.Generator()), adapter))
    if _digest(bases) != description["base"]:
        raise ValueError(
            f"network is another base than that of {str(directory)!r}: layers have equal shapes but other weights; "
            f"load the weights, in the precision, that the adapter was trained on"
        )
    for chosen, changes, _ in parts:
        _fill({target.names[0]: change for target, change in zip(chosen, changes, strict=True)}, tensors, directory)
    for chosen, changes, adapter in parts:
        network = attach_changes(network, chosen, changes, Attachment(adapter), name)
    return network


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    data = (folder / TENSORS).read_bytes()
    try:
        tensors = tensors_of(data)
        size = int.from_bytes(data[:8], "little")  # the length of a safetensors header, which the file begins with
        about = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
        description = json.loads(about[DESCRIPTION])
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']!r}, where this version reads {FORMAT}")
        for group in description["groups"]:
            require_instance("adapter", adapter_of(group["adapter"]), Adapter, "an adapter")
            require_instance("layers", group["layers"], list, "a list")
        require_instance("shapes", description["shapes"], dict, "a dict")
        return tensors, {**description, "base": str(description["base"])}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"directory={str(folder)!r} holds no adapter that can be read ({type(error).__name__}: {error}); pass a "
            f"folder that sttp.adapters.save() wrote"
        ) from None


def _targets_named(network: nn.Module, places: list[str], shapes: dict[str, list[int]]) -> list[Target]:
    found = {name: target for target in every_target(network) for name in target.names}
    for place in places:
        if place not in found:
            raise ValueError(f"network has no layer {place!r} as the saved one has; pass the network it was made from")
        shape = list(found[place].shape.shape)
        if shape != shapes[place]:
            raise ValueError(
                f"layer {place!r} has a weight of shape {shape}, the saved one {shapes[place]}; pass the network it "
                f"was made from"
            )
    chosen = [found[place] for place in places]
    require_adaptable(network, chosen)
    return chosen


def _state(changes: dict[str, Change]) -> dict[str, Tensor]:
    """Return the tensors of some changes, those that they share once."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for place, change in changes.items():
        for key, tensor in change.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[f"{place}.{key}"] = tensor
    return tensors


def _fill(changes: dict[str, Change], tensors: dict[str, Tensor], directory: object) -> None:
    expected = _state(changes)
    for key, tensor in expected.items():
        if key not in tensors or tensors[key].shape != tensor.shape or not tensors[key].isfinite().all():
            raise ValueError(
                f"directory={str(directory)!r} has no finite tensor {key!r} of shape {tuple(tensor.shape)}"
            )
    with torch.no_grad():
        for place, change in changes.items():
            own = {key: tensors[f"{place}.{key}"] for key in change.state_dict() if f"{place}.{key}" in expected}
            try:
                change.load_state_dict(own, strict=False)
            except RuntimeError as error:
                raise ValueError(f"directory={str(directory)!r} has a change that cannot be: {error}") from None


def _digest(matrices: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for matrix in matrices:
        if matrix.is_meta:
            raise ValueError("network has weights on the meta device, and no values to compare; load them first")
        digest.update(matrix.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _change(layer: AdaptedLayer, name: str) -> Change:
    change = layer.changes[name]
    assert isinstance(change, Change)
    return change
