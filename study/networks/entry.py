"""A network of the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from torch import nn

from ..arguments import require_known

Role = Literal["classifier", "generator", "discriminator"]


@final
@dataclass(frozen=True)
class NetworkEntry:
    """A network of the registry, with what can be chosen about it.

    Attributes:
        function: makes it from options by keyword, all of which have defaults; works on the meta device.
        options: what each option is, by its name.
        skip: layers that stay dense when the network is reparameterized.
        role: what it is trained to be; generators and discriminators are halves of GANs.
        size: height and width of the images that it is for; None for any.
        partner: name of the other half of its GAN.
    """

    function: Callable[..., nn.Module]
    options: Mapping[str, str]
    skip: tuple[str, ...] = ()
    role: Role = "classifier"
    size: int | None = None
    partner: str | None = None

    def build(self, base_width: int | None = None, **options: Any) -> nn.Module:
        """Build the network.

        Args:
            base_width: the option that every network has; None for its standard one.
            options: others by name; None leaves one at its default.

        Raises:
            ValueError: the network has no such option, or not this value of it.
        """
        for name in options:
            require_known("option of the network", name, self.options)
        given = {"base_width": base_width, **options}
        return self.function(**{name: value for name, value in given.items() if value is not None})
