"""The state of a run on its way, so that one that was killed goes on from there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Final

import torch

from ...layers import write_atomically

CHECKPOINT: Final = "checkpoint.pt"


def write_checkpoint(folder: Path, environment: dict[str, str], content: dict[str, Any]) -> None:
    """Write a checkpoint in place of the last one, whole or not at all.

    Args:
        folder: of the run.
        environment: versions of what decides an outcome.
        content: tensors and plain values.
    """
    write_atomically(
        folder / CHECKPOINT, lambda path: torch.save({"environment": environment, "content": content}, path)
    )


def read_checkpoint(folder: Path, environment: dict[str, str]) -> dict[str, Any] | None:
    """Return what the last checkpoint holds; None where there is none to go on from.

    One from another environment is left alone: going on from it would end in digits that neither would reach. So is
    one that cannot be read.
    """
    try:
        saved = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
        found = saved["environment"] == environment
    except (OSError, RuntimeError, LookupError, TypeError, EOFError, pickle.UnpicklingError):
        return None
    return saved["content"] if found else None


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a run that has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
