"""Layers in two factors, and networks of them, with torch and safetensors alone.

A copy of this file lies in each folder of that form, so that the network can be used where nothing else is installed::

    from factored import load_factored

    network = load_factored(network, "folder")  # the dense network, with any weights
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

TENSORS = "factored.safetensors"  # which transformers does not take for its own
DESCRIPTION = "factored.json"


class Factored(nn.Sequential):
    """Two layers for one, which code that reads a layer's ``weight`` and ``bias`` takes, too.

    Two linear layers; an embedding and a linear layer; or a convolution and one of 1 × … × 1.
    """

    @property
    def weight(self) -> Tensor:
        """The weight of the one layer, computed anew each time."""
        first: Any
        second: Any
        first, second = self
        a, b = first.weight, second.weight
        if isinstance(first, nn.Embedding):
            return a @ b.mT
        if isinstance(first, nn.Linear):
            return b @ a
        groups, outputs = first.groups, second.out_channels
        mixing = b.reshape(groups, outputs // groups, -1)
        if first.transposed:
            filters = a.reshape(groups, a.shape[0] // groups, a.shape[1], -1)
            product = torch.einsum("girk,gor->giok", filters, mixing)
            return product.reshape(a.shape[0], outputs // groups, *a.shape[2:])
        product = mixing @ a.reshape(groups, a.shape[0] // groups, -1)
        return product.reshape(outputs, *a.shape[1:])

    @property
    def bias(self) -> Tensor | None:
        """The bias of the second layer."""
        return self[1].bias  # type: ignore[return-value]


def load_factored(network: nn.Module, directory: str | Path) -> nn.Module:
    """Put two layers in the place of each that has factors, in place, and read all tensors.

    Args:
        network: the dense network, with any weights.
        directory: the folder.

    Returns:
        The network.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the network is not the one that the folder was made from.
    """
    description = json.loads((Path(directory) / DESCRIPTION).read_text(encoding="utf-8"))
    tensors = load_file(Path(directory) / TENSORS)
    for name, layers in description["layers"].items():
        try:
            old = network.get_submodule(name)
        except AttributeError:
            raise ValueError(
                f"network has no layer {name!r}; pass the dense one that {directory} was made from"
            ) from None
        like = {"device": next(old.parameters()).device, "dtype": next(old.parameters()).dtype}
        pair = Factored(*(getattr(nn, kind)(**options, **like) for kind, options in layers)).train(old.training)
        if not name:
            network = pair
        else:
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, pair)
    for name, first in description["shared"].items():
        parent, _, leaf = name.rpartition(".")
        source, _, key = first.rpartition(".")
        setattr(network.get_submodule(parent), leaf, getattr(network.get_submodule(source), key))
    found = network.load_state_dict(tensors, strict=False)
    missing = set(found.missing_keys) - set(description["shared"])
    if missing or found.unexpected_keys:
        raise ValueError(
            f"network does not fit {directory}: it lacks {found.unexpected_keys}, and the folder {sorted(missing)}"
        )
    return network
