"""Random changes of training images: whole batches at once, on the device of the images.

What is drawn is drawn on the generator's device. With a generator on the CPU every device gets the same images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def pad_and_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Return images padded with zeros on all sides and cropped to their size at random, each for itself.

    Args:
        images: ``(n, C, H, W)`` of any dtype.
        padding: pixels on each side; an image moves by up to this many, every move as likely as another.
        generator: of the moves.

    Raises:
        ValueError: the padding is negative.
    """
    if padding < 0:
        raise ValueError(f"padding must be at least 0, got {padding}; 4 is usual for 32×32 pixels")
    count, _, height, width = images.shape
    moves = torch.randint(2 * padding + 1, (2, count), generator=generator, device=generator.device)
    down, right = moves.to(images.device)
    # All crops there are, (n, C, 2p+1, 2p+1, H, W), as a view of the padded images: only those drawn are copied.
    crops = pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(count, device=images.device), :, down, right]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images ``(n, C, H, W)``, of which a random half, each decided for itself, has left and right exchanged."""
    drawn = torch.randint(2, (len(images),), generator=generator, device=generator.device)
    return torch.where(drawn.to(images.device).bool()[:, None, None, None], images.flip(-1), images)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images padded by an eighth of their height and cropped, and half of them flipped, as is usual."""
    return flip(pad_and_crop(images, images.shape[-2] // 8, generator), generator)
