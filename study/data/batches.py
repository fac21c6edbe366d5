"""Training batches without end, which depend on a seed and their position alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..arguments import require_integer
from ..random_streams import generator_of
from .image_data import Images

Augmentation = Callable[[Tensor, torch.Generator], Tensor]

# What is drawn for an epoch and for a batch are different streams of one seed.
ORDER, CHANGE = 0, 1


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
    require_integer("batch_size", batch_size, minimum=1)
    require_integer("seed", seed)
    require_integer("start", start)
    if batch_size > len(images):
        raise ValueError(f"batch_size must be at most {len(images)}, the number of images, got {batch_size}")
    target = torch.device(device) if device is not None else images.images.device
    return _batches(images, batch_size, seed, start, augmentation, target)


def _batches(
    images: Images,
    batch_size: int,
    seed: int,
    start: int,
    augmentation: Augmentation | None,
    device: torch.device,
) -> Iterator[Batch]:
    an_epoch = len(images) // batch_size
    position = start
    while True:
        epoch, first = divmod(position, an_epoch)
        order = torch.randperm(len(images), generator=generator_of(seed, ORDER, epoch)).to(images.labels.device)
        for chosen in order[: an_epoch * batch_size].split(batch_size)[first:]:
            taken = _moved(images.images[chosen], device)
            if augmentation is not None:
                taken = augmentation(taken, generator_of(seed, CHANGE, position))
            yield Batch(taken, _moved(images.labels[chosen], device))
            position += 1


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without waiting for the copy to a GPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
