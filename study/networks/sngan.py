"""Residual generators and discriminators by resolution: the networks of the paper's GAN experiments, and more.

Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, with
the widths of Obukhov et al. 2021 at 32 and 48 pixels and those of Miyato and Koyama 2018 at 64; spectral normalization
is left to whoever trains them. The pair for 8 pixels is this project's: the one for 32 with fewer, narrower layers.
"""

from __future__ import annotations

from typing import Final

from .sngan_discriminator import Discriminator
from .sngan_generator import Generator

NOISE_DIMENSION: Final = 128  # the generator's input is drawn from N(0, I)
RESOLUTIONS: Final = (8, 32, 48, 64)  # digits, CIFAR, STL-10, anything else

# By resolution: channels before the generator's first block and after each, and after each of the discriminator's.
# A base width stands for the largest of them.
_GENERATOR_WIDTHS: dict[int, tuple[int, ...]] = {
    8: (32, 32, 32),
    32: (256, 256, 256, 256),
    48: (512, 256, 128, 64),
    64: (1024, 512, 256, 128, 64),
}
_DISCRIMINATOR_WIDTHS: dict[int, tuple[int, ...]] = {
    8: (32, 32, 32),
    32: (128, 128, 128, 128),
    48: (64, 128, 256, 512, 1024),
    64: (64, 128, 256, 512, 1024),
}
_DISCRIMINATOR_HALVINGS = {8: 2, 32: 2, 48: 4, 64: 5}


def generator(
    resolution: int, base_width: int | None = None, channels: int | None = None, number_of_classes: int | None = None
) -> Generator:
    """Build the generator for images of 8, 32, 48 or 64 pixels, with weights at torch's defaults.

    Args:
        resolution: height and width of the images.
        base_width: channels before the first block, which scale all others; None is the standard: 32 at 8 pixels,
            the paper's 256 at 32 and 512 at 48, and 1024 at 64.
        channels: of the images; None for 1 at 8 pixels, which are the digits', and 3 elsewhere.
        number_of_classes: for class conditioning by batch norms; None for none.

    Raises:
        ValueError: another resolution, a number below 1, or a base width that does not give whole widths.
    """
    widths = _scaled_widths(_GENERATOR_WIDTHS, resolution, base_width)
    return Generator(NOISE_DIMENSION, widths, resolution, *_checked(resolution, channels, number_of_classes))


def discriminator(
    resolution: int, base_width: int | None = None, channels: int | None = None, number_of_classes: int | None = None
) -> Discriminator:
    """Build the discriminator for images of 8, 32, 48 or 64 pixels, with weights at torch's defaults.

    Args:
        resolution: height and width of the images.
        base_width: channels after the last block, which scale all others; None is the standard: 32 at 8 pixels, the
            paper's 128 at 32 and 1024 at 48, and 1024 at 64. The paper's reduced discriminators have 32 and 64.
        channels: of the images; None for 1 at 8 pixels, which are the digits', and 3 elsewhere.
        number_of_classes: for class conditioning by projection; None for none.

    Raises:
        ValueError: another resolution, a number below 1, or a base width that does not give whole widths.
    """
    widths = _scaled_widths(_DISCRIMINATOR_WIDTHS, resolution, base_width)
    return Discriminator(
        widths, _DISCRIMINATOR_HALVINGS[resolution], *_checked(resolution, channels, number_of_classes)
    )


def _checked(resolution: int, channels: int | None, number_of_classes: int | None) -> tuple[int, int | None]:
    """Return the number of channels, by default the resolution's, and the number of classes."""
    for name, value in (("channels", channels), ("number_of_classes", number_of_classes)):
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{name} must be None or an integer of at least 1, got {value!r}")
    return (1 if resolution == 8 else 3) if channels is None else channels, number_of_classes


def _scaled_widths(table: dict[int, tuple[int, ...]], resolution: int, base_width: int | None) -> tuple[int, ...]:
    """Return the table's widths for a resolution, scaled so that the largest is base_width."""
    if type(resolution) is not int or resolution not in table:
        raise ValueError(f"resolution must be one of {', '.join(map(str, table))}, got {resolution!r}")
    widths = table[resolution]
    base = max(widths)
    if base_width is None:
        return widths
    step = base // min(widths)
    if type(base_width) is not int or base_width < 1 or base_width % step:
        cure = f"a positive multiple of {step}, or None for the standard {base}"
        raise ValueError(f"base_width must at resolution {resolution} be {cure}, got {base_width!r}")
    return tuple(width * base_width // base for width in widths)
