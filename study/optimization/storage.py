"""What a folder of results of a study of optimizers is, which is laid out as that of any study."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..kind import Kind
from ..storage import kind_of
from .configuration import optimizer_study_of
from .result import OptimizationResult
from .run import FORMAT
from .study import KIND, OptimizerStudy

OPTIMIZATIONS: Final[Kind[OptimizerStudy, OptimizationResult]] = Kind(
    KIND, FORMAT, optimizer_study_of, OptimizationResult.from_dict
)


def holds_optimizer_study(path: Path) -> bool:
    """Return whether a folder has results of a study of optimizers."""
    return kind_of(path) == KIND
