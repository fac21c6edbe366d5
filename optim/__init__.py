"""Riemannian optimizers for manifold and plain parameters together, and penalties on spectra."""

from ._cayley_adam import CayleyAdam
from ._cayley_sgd import CayleySGD
from ._frame_optimizer import FrameOptimizer
from ._freed_memory import keep_freed_memory
from ._gradient_clipping import clip_gradient_norm_, gradient_norm
from ._landing import Landing
from ._manifold_muon import ManifoldMuon
from ._matrix_sign import matrix_sign
from ._momentum_stiefel_adam import MomentumStiefelAdam
from ._momentum_stiefel_sgd import MomentumStiefelSGD
from ._penalties import d_optimal, divergence
from ._pogo import POGO
from ._random_submanifold_descent import RandomSubmanifoldDescent
from ._retracted import Retracted
from ._riemannian_adam import RiemannianAdam
from ._riemannian_optimizer import RiemannianOptimizer
from ._riemannian_sgd import RiemannianSGD
from ._spel import SPEL
from .deterministic import (
    LBFGS,
    ConjugateGradient,
    Evaluation,
    FletcherReeves,
    HagerZhang,
    HestenesStiefel,
    Iterate,
    Method,
    MinimizeResult,
    PolakRibiere,
    Problem,
    SteepestDescent,
    TrustRegions,
    WolfeSearch,
    minimize,
)

__all__ = [
    "LBFGS",
    "POGO",
    "SPEL",
    "CayleyAdam",
    "CayleySGD",
    "ConjugateGradient",
    "Evaluation",
    "FletcherReeves",
    "FrameOptimizer",
    "HagerZhang",
    "HestenesStiefel",
    "Iterate",
    "Landing",
    "ManifoldMuon",
    "Method",
    "MinimizeResult",
    "MomentumStiefelAdam",
    "MomentumStiefelSGD",
    "PolakRibiere",
    "Problem",
    "RandomSubmanifoldDescent",
    "Retracted",
    "RiemannianAdam",
    "RiemannianOptimizer",
    "RiemannianSGD",
    "SteepestDescent",
    "TrustRegions",
    "WolfeSearch",
    "clip_gradient_norm_",
    "d_optimal",
    "divergence",
    "gradient_norm",
    "keep_freed_memory",
    "matrix_sign",
    "minimize",
]
