"""Networks by name: what `sttp report` counts and studies train. A new network adds a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from torch import nn

from .digits import digits
from .sngan import discriminator, generator
from .wide_resnet import wide_resnet


@final
@dataclass(frozen=True)
class NetworkEntry:
    """A network of the registry.

    Attributes:
        build: makes it for a base width, None for the standard one; works on the meta device.
        skip: layers that stay dense when the network is reparameterized.
    """

    build: Callable[[int | None], nn.Module]
    skip: tuple[str, ...] = ()


NETWORKS: Final[dict[str, NetworkEntry]] = {
    "digits": NetworkEntry(lambda width: digits() if width is None else digits(width)),
    "wrn-28-10": NetworkEntry(lambda width: wide_resnet() if width is None else wide_resnet(base_width=width)),
    "sngan32-discriminator": NetworkEntry(lambda width: discriminator(32, width)),
    "sngan32-generator": NetworkEntry(lambda width: generator(32, width), skip=("linear",)),
    "sngan48-discriminator": NetworkEntry(lambda width: discriminator(48, width)),
    "sngan48-generator": NetworkEntry(lambda width: generator(48, width), skip=("linear",)),
}
