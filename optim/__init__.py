"""Riemannian optimizers for manifold and plain parameters together, and penalties on spectra."""

from .cayley_adam import CayleyAdam
from .cayley_sgd import CayleySGD
from .deterministic import (
    LBFGS,
    ConjugateGradient,
    FletcherReeves,
    HagerZhang,
    HestenesStiefel,
    MinimizeResult,
    PolakRibiere,
    SteepestDescent,
    TrustRegions,
    minimize,
)
from .gradient_clipping import clip_gradient_norm_, gradient_norm
from .landing import Landing
from .manifold_muon import ManifoldMuon
from .matrix_sign import matrix_sign
from .momentum_stiefel_adam import MomentumStiefelAdam
from .momentum_stiefel_sgd import MomentumStiefelSGD
from .penalties import d_optimal, divergence
from .pogo import POGO
from .random_submanifold_descent import RandomSubmanifoldDescent
from .retracted import Retracted
from .riemannian_adam import RiemannianAdam
from .riemannian_optimizer import RiemannianOptimizer
from .riemannian_sgd import RiemannianSGD
from .spel import SPEL

__all__ = [
    "LBFGS",
    "POGO",
    "SPEL",
    "CayleyAdam",
    "CayleySGD",
    "ConjugateGradient",
    "FletcherReeves",
    "HagerZhang",
    "HestenesStiefel",
    "Landing",
    "ManifoldMuon",
    "MinimizeResult",
    "MomentumStiefelAdam",
    "MomentumStiefelSGD",
    "PolakRibiere",
    "RandomSubmanifoldDescent",
    "Retracted",
    "RiemannianAdam",
    "RiemannianOptimizer",
    "RiemannianSGD",
    "SteepestDescent",
    "TrustRegions",
    "clip_gradient_norm_",
    "d_optimal",
    "divergence",
    "gradient_norm",
    "matrix_sign",
    "minimize",
]
