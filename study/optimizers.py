"""The optimizers that a study can name; each takes manifold and plain parameters together. A new one adds a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import geoopt
import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from ..optim import (
    POGO,
    SPEL,
    CayleyAdam,
    CayleySGD,
    Landing,
    ManifoldMuon,
    MomentumStiefelAdam,
    MomentumStiefelSGD,
    RandomSubmanifoldDescent,
    Retracted,
    RiemannianAdam,
    RiemannianSGD,
)

BuildOptimizer = Callable[[Iterable[Parameter], float], Optimizer]

OPTIMIZERS: Final[dict[str, BuildOptimizer]] = {
    "riemannian-adam": lambda parameters, rate: RiemannianAdam(parameters, lr=rate),
    "riemannian-sgd": lambda parameters, rate: RiemannianSGD(parameters, lr=rate, momentum=0.9),
    "gan-adam": lambda parameters, rate: RiemannianAdam(parameters, lr=rate, betas=(0.0, 0.9)),  # the paper's betas
    "geoopt-adam": lambda parameters, rate: geoopt.optim.RiemannianAdam(parameters, lr=rate),
    "geoopt-sgd": lambda parameters, rate: geoopt.optim.RiemannianSGD(parameters, lr=rate, momentum=0.9),
    "cayley-adam": lambda parameters, rate: CayleyAdam(parameters, lr=rate),
    "cayley-sgd": lambda parameters, rate: CayleySGD(parameters, lr=rate, momentum=0.9),
    "landing": lambda parameters, rate: Landing(parameters, lr=rate, momentum=0.9),
    "pogo": lambda parameters, rate: POGO(parameters, lr=rate),
    "random-submanifold": lambda parameters, rate: RandomSubmanifoldDescent(parameters, lr=rate),
    "momentum-stiefel-adam": lambda parameters, rate: MomentumStiefelAdam(parameters, lr=rate),
    "momentum-stiefel-sgd": lambda parameters, rate: MomentumStiefelSGD(parameters, lr=rate, momentum=0.9),
    "manifold-muon": lambda parameters, rate: ManifoldMuon(parameters, lr=rate),
    "spel": lambda parameters, rate: SPEL(parameters, lr=rate),
    "retracted-adamw": lambda parameters, rate: Retracted(torch.optim.AdamW, parameters, lr=rate),
}
