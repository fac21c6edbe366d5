"""A network of the register."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from torch import nn

from .._plain import require_known

Role = Literal["classifier", "generator", "discriminator"]


@final
@dataclass(frozen=True)
class NetworkEntry:
    """A network of the register, with what can be chosen about it.

    Attributes:
        function: makes it from options by keyword, all of which have defaults; those of this package work on the meta
            device.
        options: what each option is, by its name; None for the parameters of the function.
        skip: layers that stay dense when the network is reparameterized.
        role: what it is trained to be; generators and discriminators are halves of GANs. None for whatever the task
            makes of it.
        size: height and width of the images that it is for; None for any.
        partner: name of the other half of its GAN.
    """

    function: Callable[..., nn.Module]
    options: Mapping[str, str] | None = None
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
        return option in self._known

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
            if not self._known:
                raise ValueError(f"network {self.name!r} has no options, got {name}={given[name]!r}; leave it out")
            require_known("option of the network", name, self._known)
        network = self.function(**given)
        if not isinstance(network, nn.Module):
            raise TypeError(f"network {self.name!r} must return a torch.nn.Module, got {network!r}")
        return network

    @property
    def _known(self) -> Collection[str]:
        """The names of the options; none where a function's arguments cannot be told."""
        if self.options is not None:
            return self.options
        try:
            found = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):
            return ()
        return tuple(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
