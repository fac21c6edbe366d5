"""Riemannian optimizers for manifold and plain parameters together, and penalties on spectra."""

from .penalties import d_optimal, divergence
from .riemannian_adam import RiemannianAdam
from .riemannian_optimizer import RiemannianOptimizer
from .riemannian_sgd import RiemannianSGD

__all__ = ["RiemannianAdam", "RiemannianOptimizer", "RiemannianSGD", "d_optimal", "divergence"]
