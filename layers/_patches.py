"""The vectors that the weight of a layer is multiplied with: inputs of linear layers, patches of convolutions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

# Entries of the patches that are made at once.
_ENTRIES: Final = 2**24


def input_vectors(layer: nn.Module, given: Tensor) -> Iterator[Tensor]:
    """Give the vectors ``(number, columns)`` that the matrix of a layer's weight is multiplied with, some at a time.

    Those of a convolution are its patches, of every group, in the order of :class:`~sttp.layers.WeightShape`; of a
    transposed one, the inputs that come together in each position of the output.

    Args:
        layer: a linear layer or a convolution of torch.nn.
        given: what it is called with.
    """
    if not isinstance(layer, _ConvNd):
        yield given.reshape(-1, given.shape[-1])
        return
    dimensions = len(layer.kernel_size)
    given = given.detach() if given.dim() == dimensions + 2 else given.detach().unsqueeze(0)
    factor = math.prod(layer.kernel_size)
    number = max(1, _ENTRIES // max(1, factor * given[0].numel()))
    for part in given.split(number):
        yield _patches(layer, part)


def _patches(layer: _ConvNd, given: Tensor) -> Tensor:
    """Return the patches of inputs ``(batch, channels, …)`` as rows ``(number, channels of a group · filter)``."""
    strides = layer.stride
    if isinstance(layer, _ConvTransposeNd):
        given, strides = _spread(layer, given), (1,) * len(strides)
    elif layer.padding_mode == "zeros":
        given = F.pad(given, layer._reversed_padding_repeated_twice)
    else:
        given = F.pad(given, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
    sizes = [
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, dilation, kernel, stride in zip(
            given.shape[2:], layer.dilation, layer.kernel_size, strides, strict=True
        )
    ]
    entries = []
    for offsets in itertools.product(*map(range, layer.kernel_size)):
        if isinstance(layer, _ConvTransposeNd):  # which turns the filter round
            offsets = tuple(kernel - 1 - offset for kernel, offset in zip(layer.kernel_size, offsets, strict=True))
        window = given
        for axis, (offset, dilation, size, stride) in enumerate(
            zip(offsets, layer.dilation, sizes, strides, strict=True), start=2
        ):
            start = offset * dilation
            window = window[(slice(None),) * axis + (slice(start, start + stride * (size - 1) + 1, stride),)]
        entries.append(window)
    stacked = torch.stack(entries, dim=2).flatten(3)  # (batch, channels, filter, positions)
    grouped = stacked.unflatten(1, (layer.groups, -1))
    return grouped.movedim(4, 2).reshape(-1, grouped.shape[2] * grouped.shape[3])


def _spread(layer: _ConvTransposeNd, given: Tensor) -> Tensor:
    """Return the input with zeros between and around its entries, of which an ordinary convolution makes the output."""
    strides, sizes = layer.stride, given.shape[2:]
    spread = given.new_zeros(*given.shape[:2], *((size - 1) * s + 1 for size, s in zip(sizes, strides, strict=True)))
    spread[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))] = given
    padding: list[int] = []
    cuts = cast(tuple[int, ...], layer.padding)  # a transposed convolution takes no names
    for dilation, kernel, cut, added in zip(layer.dilation, layer.kernel_size, cuts, layer.output_padding, strict=True):
        around = dilation * (kernel - 1) - cut
        padding = [around, around + added, *padding]  # F.pad takes the last axis first
    return F.pad(spread, padding)
