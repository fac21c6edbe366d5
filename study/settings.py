"""What a training has beside its method and budget; most studies leave all of it as it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, final

import torch

from ..manifolds import require_flag, require_integer, require_number
from ._plain import require_known

PRECISIONS: Final[dict[str, torch.dtype | None]] = {"float32": None, "bfloat16": torch.bfloat16}


@final
@dataclass(frozen=True)
class Settings:
    """Data, sizes of networks, and how they are trained. Values at their defaults do not enter a run's identifier.

    A task has some of these; a value of another that is not at its default is refused.

    Attributes:
        data: name of the data set; where it lies is told when the run is made, and is no part of it.
        size: height and width that the images are resized to, None for those they have.
        images: number of training images, of every class in its share; None for all. Test images are always all.
        width: base width of the network, None for its standard one.
        depth: depth of a wide residual network, None for its standard one.
        widen_factor: how wide such a network is, None for its standard one.
        partner_width: base width of the network that the first one is trained against, None for its standard one.
        conditional: whether both networks of a GAN are told the classes.
        augment: whether training images are padded, cropped and flipped.
        precision: `float32`, or `bfloat16` for mixed precision: forwards under autocast, parameters in float32.
        accumulation: in how many equal pieces a batch goes through the network, whose gradients are added up.
        weight_decay: L2 penalty of plain weights and of free spectra; never of frames.
        critic_steps: steps of the discriminator for each step of the generator.
        averaging: how much of its last value an exponential moving average of the network, or of a GAN's generator,
            keeps each step, 0 for none. Scores, losses on splits and samples are then the average's.
        samples: number of generated images that a GAN is scored by at the end; looks on the way take a quarter.
        inception: whether they are also scored by torch-fidelity on the features of Inception, at the end.

    Raises:
        ValueError: a value is unknown or out of range.
        TypeError: a value is not of its kind.
    """

    data: str = "digits"
    size: int | None = None
    images: int | None = None
    width: int | None = None
    depth: int | None = None
    widen_factor: int | None = None
    partner_width: int | None = None
    conditional: bool = False
    augment: bool = False
    precision: str = "float32"
    accumulation: int = 1
    weight_decay: float = 0.0
    critic_steps: int = 5
    averaging: float = 0.0
    samples: int = 10_000
    inception: bool = False

    def __post_init__(self) -> None:
        require_known("precision", self.precision, PRECISIONS)
        for name in ("size", "images", "width", "depth", "widen_factor", "partner_width"):
            if getattr(self, name) is not None:
                require_integer(name, getattr(self, name), least=1)
        for name in ("accumulation", "critic_steps"):
            require_integer(name, getattr(self, name), least=1)
        require_integer("samples", self.samples, least=40)  # of which looks take ten, and the scores want as many
        for name in ("conditional", "augment", "inception"):
            require_flag(name, getattr(self, name))
        require_number("weight_decay", self.weight_decay, least=0)
        require_number("averaging", self.averaging, least=0, below=1)
        for name in ("weight_decay", "averaging"):
            # Equal settings are to have equal runs whether 0 was written 0 or 0.0.
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def changed(self) -> dict[str, Any]:
        """The values that are not at their defaults."""
        return {name: value for name, value in asdict(self).items() if value != SETTINGS[name]}


# Names of all settings, with their defaults.
SETTINGS: Final[dict[str, Any]] = {field.name: field.default for field in fields(Settings)}
