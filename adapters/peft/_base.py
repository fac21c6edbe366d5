"""Which base an adapter was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import torch

from .._adapter import FrozenWeight

# The entries of a weight that are looked at: all of a small one; of a large one these many, evenly spread, so that a
# model of billions is no matter of minutes. Training or rounding changes nearly all entries of a base.
ENTRIES: Final = 2**16


def require_base(expected: str | None, weights: Sequence[FrozenWeight]) -> str | None:
    """Return the digest of frozen weights, None where they have no values.

    Raises:
        ValueError: another digest is expected.
    """
    if any(weight.matrix.is_meta for weight in weights):
        return expected
    found = _digest(weights)
    if expected is not None and expected != found:
        raise ValueError(
            "the model is another base than that of the saved adapter: its layers have other shapes or other weights; "
            "load the weights, in the precision, that the adapter was trained on; or, to have it on this base all the "
            "same, set base=None in the configuration and pass it to from_pretrained(…, config=config)"
        )
    return found


def _digest(weights: Sequence[FrozenWeight]) -> str:
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(repr(weight.shape.shape).encode())
        values = weight.matrix.reshape(-1)
        chosen = values[:: -(-values.numel() // ENTRIES)].to(torch.float32)
        digest.update(chosen.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
