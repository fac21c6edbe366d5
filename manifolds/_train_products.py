"""Products of a train with vectors, and rows of its factor U, from contractions of a few neighbouring cores each.

Neither U nor V is formed. All that is asked of a train is its shape; its frames are those that are stored, evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding, one_hot, pad

from ._contraction import contract_left, contract_right, without_padding
from ._train_shape import FrameShape, TrainShape


def merge_frames(
    frames: Sequence[Tensor], shapes: Sequence[FrameShape], blocks: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Return frames contracted within blocks of neighbours, each the frame of one core with all modes of its block.

    Args:
        frames: the stored frames in the order of the chain.
        shapes: their shapes.
        blocks: (start, stop) of each, on one side of the centre.
    """
    merged = []
    for start, stop in blocks:
        block = frames[start:stop]
        frame = contract_left(block, shapes[start:stop]) if shapes[start].left else contract_right(block)
        assert frame is not None
        merged.append(frame)
    return merged


def train_product(
    vectors: Tensor, shape: TrainShape, left: Sequence[Tensor], values: Tensor, right: Sequence[Tensor]
) -> Tensor:
    """Return x Wᵀ of shape ``(number, rows)``, contiguous, for vectors x ``(number, columns)``.

    Args:
        vectors: any number of vectors, as rows.
        shape: the shape of the train.
        left: the frames of U's side in the order of the chain, merged in blocks or not.
        values: the singular values.
        right: the same of V's side.
    """
    number = len(vectors)
    if shape.padded_columns > shape.columns:
        vectors = pad(vectors, (0, shape.padded_columns - shape.columns))
    for frame in reversed(right):  # from outside to the centre: the last modes are contiguous
        vectors = vectors.reshape(-1, frame.shape[0]) @ frame
    hidden = (vectors.reshape(number, shape.center_rank) * values).mT
    for frame in reversed(left):  # from the centre to outside, with the vectors last
        hidden = frame @ hidden.reshape(frame.shape[1], -1)
    return without_padding(hidden.reshape(shape.padded_rows, number), shape.rows).mT.contiguous()


def left_factor_rows(indices: Tensor, shape: TrainShape, left: Sequence[Tensor]) -> Tensor:
    """Return rows of U, ``(*indices.shape, r)``.

    Args:
        indices: which ones; others than those of the matrix fail as torch's embedding does.
        shape: the shape of the train.
        left: the frames of U's side in the order of the chain, at least one, merged in blocks or not.
    """
    stride = shape.padded_rows // len(left[0])
    # An index into the padding is to fail as any other that is out of range.
    first = torch.where(indices < shape.rows, indices // stride, len(left[0]))
    rows, rest = embedding(first, left[0]), indices % stride
    for frame in left[1:]:
        cores = frame.unflatten(0, (rows.shape[-1], -1)).transpose(0, 1)
        stride //= len(cores)
        rows = (rows.unsqueeze(-2) @ cores[rest // stride]).squeeze(-2)
        rest = rest % stride
    if stride > 1:  # identities that are missing between the last frame and the centre
        rows = (rows.unsqueeze(-1) * one_hot(rest, stride).to(rows.dtype).unsqueeze(-2)).flatten(-2)
    return rows
