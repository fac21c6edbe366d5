"""Parts of a data set in which every class has the share that it has in the whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..data import Images
from ..data.folder import SPLIT_SEED
from ..data.own import VALIDATION_SHARE


def hold_out(whole: Images, classes: Sequence[str], place: str = "data") -> tuple[Images, Images]:
    """Return the training images without a tenth of every class, and that tenth: at least one image of each.

    Args:
        whole: all training images.
        classes: a name for each label.
        place: what errors call the data.

    Raises:
        ValueError: a class has but one image.
    """
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    held = torch.zeros(len(whole), dtype=torch.bool)
    for label, members in _classes(whole):
        if len(members) < 2:
            raise ValueError(
                f"{place} must have two training images of each class, one of which is held out, got one of "
                f"{classes[label]!r}; add another, or leave the class out"
            )
        count = max(1, round(VALIDATION_SHARE * len(members)))
        held[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return whole.part((~held).nonzero().flatten()), whole.part(held.nonzero().flatten())


def thin_out(whole: Images, count: int) -> Images:
    """Return so many of the images, in their order: the first of every class, in equal shares of the classes' sizes.

    Raises:
        ValueError: there are not so many, or fewer than two of each class would be left.
    """
    if count > len(whole):
        raise ValueError(f"images must be at most {len(whole)}, the number of training images, got {count}")
    # How far an image is through its class: whatever number of images is taken then, all classes have got equally far.
    progress = torch.empty(len(whole), dtype=torch.float64)
    for _, members in _classes(whole):
        progress[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    order = progress.argsort(stable=True)
    places = order.argsort()
    classes = _classes(whole)
    enough = 1 + max(int(places[members[:2]].max()) for _, members in classes)
    if count < enough:
        raise ValueError(
            f"images must be enough for two of each of the {len(classes)} classes, got {count}; give at least {enough}"
        )
    return whole.part(order[:count].sort().values)


def _classes(images: Images) -> list[tuple[int, Tensor]]:
    """Return the labels that occur, each with the positions of its images, in one pass over all."""
    ordered, positions = images.labels.sort(stable=True)
    labels, counts = ordered.unique_consecutive(return_counts=True)
    return list(zip(labels.tolist(), positions.split(counts.tolist()), strict=True))
