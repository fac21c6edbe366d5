"""The state of a run on its way, so that one that was killed goes on from there."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any, Final

import torch

from ..layers import write_atomically

CHECKPOINT: Final = "checkpoint.pt"
_DIGEST: Final = hashlib.sha256


def write_checkpoint(folder: Path, environment: dict[str, str], content: dict[str, Any]) -> None:
    """Write a checkpoint in place of the last one, whole or not at all, after its own SHA-256.

    Args:
        folder: of the run.
        environment: versions of what decides an outcome.
        content: tensors and plain values.
    """
    buffer = io.BytesIO()
    torch.save({"environment": environment, "content": content}, buffer)
    data = buffer.getvalue()
    write_atomically(folder / CHECKPOINT, lambda path: path.write_bytes(_DIGEST(data).digest() + data))


def read_checkpoint(folder: Path, environment: dict[str, str]) -> dict[str, Any] | None:
    """Return what the last checkpoint holds; None where there is none to go on from.

    One from another environment is left alone: going on from it would end in digits that neither would reach. So is
    one that is damaged, of which a warning tells. The next checkpoint takes the place of either.
    """
    path = folder / CHECKPOINT
    try:
        data = path.read_bytes()
    except OSError:
        return None
    size = _DIGEST().digest_size
    if _DIGEST(data[size:]).digest() != data[:size]:
        warnings.warn(
            f"checkpoint {str(path)!r} is damaged, so that its run begins anew: the disk may be failing", stacklevel=2
        )
        return None
    try:
        saved = torch.load(io.BytesIO(data[size:]), map_location="cpu", weights_only=True)
        found = saved["environment"] == environment
    except (RuntimeError, LookupError, TypeError, EOFError, pickle.UnpicklingError):
        return None  # whole, and of another version
    return saved["content"] if found else None


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a run that has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
