"""Networks by name: what `sttp report` counts and studies train. A new network adds a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from torch import nn

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


NETWORKS: Final[dict[str, NetworkEntry]] = {
    "digits": NetworkEntry(digits, _DIGITS),
    "wrn-28-10": NetworkEntry(wide_resnet, _WIDE),
    "wrn-16-2": NetworkEntry(partial(wide_resnet, depth=16, widen_factor=2), _WIDE),
    "wrn-10-1": NetworkEntry(partial(wide_resnet, depth=10, widen_factor=1), _WIDE),
    **_sngan(discriminator, "discriminator", "generator"),
    **_sngan(generator, "generator", "discriminator", skip=("linear",)),
}

__all__ = ["NETWORKS", "NetworkEntry", "Role"]
