"""Training batches without end, which depend on a seed and their position alone; their random changes and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import starmap
from typing import Final, NamedTuple, Self, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...manifolds import require_integer
from ..random_streams import generator_of
from .image_data import Images

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

# What is drawn for an epoch and for a batch are different streams of one seed.
ORDER, CHANGE = 0, 1
SHADES: Final = 255
# Images that are counted at once: few enough to stay in a processor's cache.
PIECE: Final = 200


class Batch(NamedTuple):
    """Images ``(n, C, H, W)`` of uint8 and labels ``(n,)`` of int64."""

    images: Tensor
    labels: Tensor


def batches(
    images: Images,
    batch_size: int,
    seed: int,
    *,
    start: int = 0,
    augmentation: Augmentation | None = None,
    device: torch.device | str | None = None,
) -> Iterator[Batch]:
    """Return batches, each epoch a new permutation; the last, incomplete batch of an epoch is left out.

    Args:
        images: on the device where batches are put together; the CPU where all of them would not fit elsewhere.
        batch_size: number of images.
        seed: of order and augmentation.
        start: position of the first batch; those before it are passed over at no cost, and the rest is the same.
        augmentation: changes the images of a whole batch, such as :func:`~sttp.study.data.augment`.
        device: where batches go; None for where the images are.

    Raises:
        ValueError: a number is out of range.
        TypeError: a number is no integer.
    """
    chosen = batch_indices(len(images), batch_size, seed, start=start, device=images.images.device)
    where = torch.device(device or images.images.device)

    def batch(position: int, indices: Tensor) -> Batch:
        taken = _moved(images.images[indices], where)
        if augmentation is not None:
            taken = augmentation(taken, generator_of(seed, CHANGE, position))
        return Batch(taken, _moved(images.labels[indices], where))

    return starmap(batch, enumerate(chosen, start))


def batch_indices(
    count: int, batch_size: int, seed: int, *, start: int = 0, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Return the positions ``(batch_size,)`` of each batch's examples among ``count``, in the order of :func:`batches`.

    Raises:
        ValueError: a number is out of range.
        TypeError: a number is no integer.
    """
    require_integer("batch_size", batch_size, least=1)
    require_integer("seed", seed, least=0)
    require_integer("start", start, least=0)
    if batch_size > count:
        raise ValueError(f"batch_size must be at most {count}, the number of images, got {batch_size}")
    return _batch_indices(count, batch_size, seed, start, torch.device(device))


def _batch_indices(count: int, batch_size: int, seed: int, start: int, device: torch.device) -> Iterator[Tensor]:
    an_epoch = count // batch_size
    epoch, first = divmod(start, an_epoch)
    while True:
        order = torch.randperm(count, generator=generator_of(seed, ORDER, epoch)).to(device)
        yield from order[: an_epoch * batch_size].split(batch_size)[first:]
        epoch, first = epoch + 1, 0


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without waiting for the copy to a GPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def pad_and_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Return images padded with zeros on all sides and cropped to their size at random, each for itself.

    What is drawn is drawn on the generator's device: with one on the CPU every device gets the same images.

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


def to_symmetric(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return images of uint8 as numbers in [−1, 1], as generators make them."""
    return images.to(dtype) / (SHADES / 2) - 1


def from_symmetric(images: Tensor) -> Tensor:
    """Return numbers in [−1, 1] as images of uint8, each rounded to the nearest shade; what is outside is clipped."""
    return ((images + 1) * (SHADES / 2)).round().clamp(0, SHADES).to(torch.uint8)


@final
@dataclass(frozen=True, eq=False)
class Normalization:
    """Subtraction of a mean and division by a deviation, of each channel.

    Attributes:
        mean: ``(C, 1, 1)``, in units of a pixel's shades from 0 to 255.
        deviation: ``(C, 1, 1)``, alike.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, images: Tensor, dtype: torch.dtype = torch.float32) -> Self:
        """Return the normalization by which images ``(n, C, H, W)`` of uint8 have mean 0 and deviation 1.

        Sums are of integers below 2⁵³ in float64, so that their order does not matter. A channel whose deviation is
        below one shade is divided by one shade.
        """
        number = images.numel() // images.shape[1]
        sums = torch.zeros((2, images.shape[1]), dtype=torch.float64, device=images.device)
        for piece in images.split(PIECE):
            pixels = piece.double()
            sums[0] += pixels.sum((0, 2, 3))
            sums[1] += pixels.square().sum((0, 2, 3))
        mean, square = (sums / number).reshape(2, -1, 1, 1)
        deviation = (square - mean.square()).clamp(min=1).sqrt()
        return cls(mean.to(dtype), deviation.to(dtype))

    def __call__(self, images: Tensor) -> Tensor:
        """Return images of uint8 as normalized numbers of the mean's dtype."""
        return (images.to(self.mean.dtype) - self.mean) / self.deviation

    def to(self, device: torch.device | str) -> Self:
        """Return the same normalization on a device."""
        return type(self)(self.mean.to(device), self.deviation.to(device))
