"""A network whose layers are in two factors, read with torch and safetensors alone.

A copy of this file lies in each folder of that form, so that the network can be used where nothing else is installed::

    from factored import load_factored

    network = load_factored(network, "folder")  # the dense network, with any weights
"""

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

TENSORS = "factored.safetensors"  # which transformers does not take for its own
DESCRIPTION = "factored.json"


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
        pair = nn.Sequential(*(getattr(nn, kind)(**options, **like) for kind, options in layers))
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, pair.train(old.training))
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
