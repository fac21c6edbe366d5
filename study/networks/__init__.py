"""Networks by name: what `sttp report` counts and studies train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from torch import nn

from ...manifolds import described
from ..register import Register
from .digits import digits
from .entry import NetworkEntry, Role
from .sngan import RESOLUTIONS, discriminator, generator
from .wide_resnet import wide_resnet

_CHANNELS: Final = {"channels": "channels of the images"}
_CLASSIFIER: Final = {"number_of_classes": "number of logits"} | _CHANNELS
_DIGITS: Final = {"base_width": "channels after the first convolution, 16 by default"} | _CLASSIFIER
_WIDE: Final = {
    "base_width": "channels after the first convolution, 16 by default; the others are in proportion",
    "depth": "layers on the longest path, 6n + 4",
    "widen_factor": "how many times wider than an ordinary residual network",
} | _CLASSIFIER
_GAN: Final = {
    "base_width": "channels of the widest layer; the paper's reduced discriminators have 32 of 128 and 64 of 1024",
    "number_of_classes": "classes by which both networks of a GAN are conditioned, none by default",
} | _CHANNELS


def _sngan(
    function: Callable[..., nn.Module], role: Role, partner: Role, skip: tuple[str, ...] = ()
) -> dict[str, NetworkEntry]:
    return {
        f"sngan{size}-{role}": NetworkEntry(partial(function, size), _GAN, skip, role, size, f"sngan{size}-{partner}")
        for size in RESOLUTIONS
    }


def _require_network(thing: object) -> None:
    if not isinstance(thing, NetworkEntry) and (isinstance(thing, nn.Module) or not callable(thing)):
        raise TypeError(f"it must be a function or class that makes a network, got {described(thing)}; give that")


# Functions and classes of others may be here as they are; :func:`network_entry` has an entry for each.
NETWORKS: Final[Register[NetworkEntry | Callable[..., nn.Module]]] = Register("network", _require_network)
for _name, _entry in {
    "digits": NetworkEntry(digits, _DIGITS, role="classifier"),
    "wrn-28-10": NetworkEntry(wide_resnet, _WIDE, role="classifier"),
    "wrn-16-2": NetworkEntry(partial(wide_resnet, depth=16, widen_factor=2), _WIDE, role="classifier"),
    "wrn-10-1": NetworkEntry(partial(wide_resnet, depth=10, widen_factor=1), _WIDE, role="classifier"),
    **_sngan(discriminator, "discriminator", "generator"),
    **_sngan(generator, "generator", "discriminator", skip=("linear",)),
}.items():
    NETWORKS.add(_name, _entry)


def network_entry(name: str) -> NetworkEntry:
    """Return the network of a registered name, or of ``package.module:object``.

    Raises:
        ValueError: the name is unknown, or cannot be imported.
        TypeError: it names something else.
    """
    found = NETWORKS[name]
    return found if isinstance(found, NetworkEntry) else NetworkEntry(found)


__all__ = ["NETWORKS", "NetworkEntry", "Role", "network_entry"]
