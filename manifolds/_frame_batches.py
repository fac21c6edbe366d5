"""The frames of many charts at once: Householder charts of one shape, and all small ones, in one batch.

A small frame costs the launch of its kernels and no arithmetic to speak of, so that frames of different small sizes are
padded to one: zero rows below and zero columns at the right leave the top left part of the product of reflections as it
is. Free entries go straight to their places in the padded batch by one indexed copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from ._geometry import Chart, HouseholderChart
from ._householder import householder_frames, reduced_frames

# Number of entries up to which a frame is small: 16 such frames take 0.3 ms on a CPU whether they are batched or not.
_SMALL: Final = 1024


def frames_of_charts(
    charts: Sequence[Chart], coordinates: Sequence[Tensor], signs: Sequence[Tensor | None]
) -> list[Tensor]:
    """Return the frame ``(..., d, p)`` of each chart; differentiable.

    Args:
        charts: any charts, of one dtype and device.
        coordinates: their coordinates, with the same leading batch dimensions.
        signs: their signs ``(..., p)``, or None.
    """
    frames: list[Tensor | None] = [None] * len(charts)
    batches: dict[tuple[int, int, bool] | None, list[tuple[int, HouseholderChart]]] = {}
    for index, chart in enumerate(charts):
        if isinstance(chart, HouseholderChart):
            small = chart.rows * chart.columns <= _SMALL
            batches.setdefault(None if small else (chart.rows, chart.columns, chart.reduced), []).append((index, chart))
        else:
            frames[index] = chart.frame(coordinates[index], signs[index])
    for key, members in batches.items():
        blocks = [coordinates[index] for index, _ in members]
        if key is not None and key[2]:
            batch = reduced_frames(torch.stack(blocks, dim=-3))
        else:
            batch = _padded_frames(tuple((chart.rows, chart.columns, chart.reduced) for _, chart in members), blocks)
        for (index, chart), frame in zip(members, batch.unbind(dim=-3), strict=True):
            sign = signs[index]
            frame = frame[..., : chart.rows, : chart.columns]
            frames[index] = frame if sign is None else frame * sign.unsqueeze(-2)
    return [frame for frame in frames if frame is not None]


def _padded_frames(sizes: tuple[tuple[int, int, bool], ...], coordinates: Sequence[Tensor]) -> Tensor:
    """Return frames ``(..., number, rows, columns)``, padded to the largest size, of free entries."""
    rows, columns = max(size[0] for size in sizes), max(size[1] for size in sizes)
    flat = [c.flatten(-2) if reduced else c for c, (_, _, reduced) in zip(coordinates, sizes, strict=True)]
    free = torch.cat(flat, dim=-1)
    if torch.compiler.is_compiling():
        places = _places.__wrapped__(sizes, rows, columns)
    else:
        with torch.inference_mode(False):  # what is kept serves trainings, too
            places = _places(sizes, rows, columns)
    entries = free.new_zeros(*free.shape[:-1], len(sizes) * rows * columns)
    entries = entries.index_copy(-1, places.to(free.device), free)
    return householder_frames(entries.unflatten(-1, (len(sizes), rows, columns)))


@lru_cache(maxsize=256)
def _places(sizes: tuple[tuple[int, int, bool], ...], rows: int, columns: int) -> Tensor:
    """Return where in the padded batch each free entry goes, in the order of :func:`free_entries`."""
    # Without a mask: how many entries one selects is nothing that a compiler knows.
    places = []
    for number, (own_rows, own_columns, reduced) in enumerate(sizes):
        if reduced:
            below = torch.arange(own_columns, own_rows).unsqueeze(-1) * columns + torch.arange(own_columns)
            places.append(number * rows * columns + below.flatten())
        else:
            # The strict lower triangle of the top block row by row and then the rows below are one row-major order.
            row, column = torch.tril_indices(own_rows, own_columns, -1)
            places.append(number * rows * columns + row * columns + column)
    return torch.cat(places)
