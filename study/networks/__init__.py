"""Networks by name: what `sttp report` counts and studies train."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, final

from torch import nn

from ...manifolds import described
from .._plain import require_known
from ..register import Register
from .digits import digits
from .sngan import RESOLUTIONS, discriminator, generator
from .wide_resnet import wide_resnet

Role = Literal["classifier", "generator", "discriminator", "trained"]


@final
@dataclass(frozen=True)
class NetworkEntry:
    """A network of the register, with what can be chosen about it.

    Attributes:
        function: makes it from options by keyword, all of which have defaults; those of this package work on the meta
            device.
        skip: layers that stay dense when the network is reparameterized.
        role: what it is trained to be; generators and discriminators are halves of GANs, and what is trained already is
            to be adapted. None for whatever the task makes of it.
        size: height and width of the images that it is for; None for any.
        partner: name of the other half of its GAN.
    """

    function: Callable[..., nn.Module]
    skip: tuple[str, ...] = ()
    role: Role | None = None
    size: int | None = None
    partner: str | None = None

    @property
    def name(self) -> str:
        """The name of the function, under which an entry is known that was registered under no other."""
        return str(getattr(self.function, "__name__", "network")).strip("<>")

    def takes(self, option: str) -> bool:
        """Return whether the network has an option of this name."""
        return option in self.options

    def build(self, base_width: int | None = None, **options: Any) -> nn.Module:
        """Build the network.

        Args:
            base_width: the option that every network of this package has; None for its standard one.
            options: others by name; None leaves one at its default.

        Raises:
            ValueError: the network has no such option, or not this value of it.
            TypeError: what the function returns is no network.
        """
        given = {name: value for name, value in {"base_width": base_width, **options}.items() if value is not None}
        for name in given:
            if not self.options:
                raise ValueError(f"network {self.name!r} has no options, got {name}={given[name]!r}; leave it out")
            require_known("option of the network", name, self.options)
        network = self.function(**given)
        if not isinstance(network, nn.Module):
            raise TypeError(f"network {self.name!r} must return a torch.nn.Module, got {network!r}")
        return network

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the function's parameters; none where they cannot be told."""
        try:
            found = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):
            return ()
        return tuple(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def _sngan(
    function: Callable[..., nn.Module], role: Role, partner: Role, skip: tuple[str, ...] = ()
) -> dict[str, NetworkEntry]:
    return {
        f"sngan{size}-{role}": NetworkEntry(partial(function, size), skip, role, size, f"sngan{size}-{partner}")
        for size in RESOLUTIONS
    }


def _require_network(thing: object) -> None:
    if not isinstance(thing, NetworkEntry) and (isinstance(thing, nn.Module) or not callable(thing)):
        raise TypeError(f"it must be a function or class that makes a network, got {described(thing)}; give that")


# Functions and classes of others may be here as they are; :func:`network_entry` has an entry for each.
NETWORKS: Final[Register[NetworkEntry | Callable[..., nn.Module]]] = Register("network", _require_network)
for _name, _entry in {
    "digits": NetworkEntry(digits, role="classifier"),
    "wrn-28-10": NetworkEntry(wide_resnet, role="classifier"),
    "wrn-16-2": NetworkEntry(partial(wide_resnet, depth=16, widen_factor=2), role="classifier"),
    "wrn-10-1": NetworkEntry(partial(wide_resnet, depth=10, widen_factor=1), role="classifier"),
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
