"""Right calls of what ``sttp.manifolds``, ``sttp.layers`` and ``sttp.optim`` have to offer, for others to spoil."""

from __future__ import annotations

from pathlib import Path

from sttp import manifolds

from . import of_layers, of_manifolds, of_optim
from .call import Call

__all__ = ["FUNCTIONS", "NOT_CALLED", "Call", "all_calls"]

# What takes functions refuses none that fails in its own way.
FUNCTIONS = frozenset({"cost", "callback", "preconditioner", "modes", "closure", "write", "gradient"})

# Constants, base classes, results, values without a check; kernels and marks that the packages of sttp alone use; the
# checks of arguments themselves; and an enumeration, whose refusals are Python's.
NOT_CALLED = {
    "manifolds": {
        "Transport",
        "METRICS",
        "SHORT",
        "Metric",
        "SpectrumOwner",
        "TrainMember",
        "Chart",
        "FrameManifold",
        "Geometry",
    }
    | {"Retraction", "Spectrum", "MatrixFit", "TrainPoint", "TrainTangent", "described", "identity_like"}
    | {name for name in manifolds.__all__ if name.startswith(("require_", "mark_"))}
    | {"without_autocast", "merge_frames", "train_product", "left_factor_rows", "frames_of_charts", "declared_region"}
    | {"RankErrors", "ranks_within"},
    "layers": {"SPECTRAL_LAYERS", "CompressionReport", "DenseTensor", "Factors", "Initialization", "LayerReport"}
    | {"OffManifoldWarning", "SpectralLayer", "Specification"},
    "optim": {"Evaluation", "FrameOptimizer", "Iterate", "Method", "MinimizeResult", "Problem", "RiemannianOptimizer"}
    | {"keep_freed_memory", "FletcherReeves", "HestenesStiefel"},
}


def all_calls(folder: Path) -> list[Call]:
    """Return all calls; what they write goes to a folder."""
    return [*of_manifolds.calls(), *of_layers.calls(folder), *of_optim.calls()]
