"""The one list of optimizers that drives all shared tests: a new optimizer is a row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import geoopt
import torch
from smallest_optimizer import NormalizedDescent

from sttp.manifolds import Grassmann, Stiefel
from sttp.optim import (
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

EUCLIDEAN, CANONICAL, GRASSMANN = Stiefel(), Stiefel("canonical"), Grassmann()


@dataclass(frozen=True)
class Row:
    """An optimizer and what is known of it.

    Attributes:
        name: for the test's name.
        kind: what is called with parameters and options.
        options: its options but the learning rate.
        rate: a learning rate for problems whose gradients are of the order of 1.
        steps: that it needs to reach a relative gap of 1e-6 on them.
        decays: whether its steps do not shrink with the gradient, so that the learning rate has to.
        feasibility: ‖XᵀX − I‖_F in float32 that it claims for steps along random gradients at ``rough``.
        rough: the learning rate of that.
        closed: ‖XᵀX − I‖_F that it claims where it has converged, in float64.
        manifolds: those that it takes.
        takes_all: whether it takes manifolds of geoopt that are not made of frames.
    """

    name: str
    kind: Callable[..., torch.optim.Optimizer]
    options: dict[str, Any] = field(default_factory=dict)
    rate: float = 0.1
    steps: int = 120
    decays: bool = False
    feasibility: float = 1e-6
    rough: float = 0.1
    closed: float = 1e-12
    manifolds: tuple[geoopt.Manifold, ...] = (EUCLIDEAN, CANONICAL, GRASSMANN)
    takes_all: bool = False

    def make(self, parameters: Any, lr: float | None = None, **options: Any) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return self.kind(parameters, lr=self.rate if lr is None else lr, **{**self.options, **options})


def _retracted(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    return lambda params, **options: Retracted(kind, params, **options)


ROWS = (
    Row("smallest", NormalizedDescent, rate=0.5, steps=420, decays=True, takes_all=True),
    Row("riemannian-sgd", RiemannianSGD, {"momentum": 0.8}, rate=0.3, takes_all=True),
    Row("riemannian-adam", RiemannianAdam, rate=0.5, steps=240, decays=True, takes_all=True),
    Row("cayley-sgd", CayleySGD, {"momentum": 0.8}, rate=0.3),
    Row("cayley-adam", CayleyAdam, rate=0.3, steps=180),
    Row("landing", Landing, rate=0.5, steps=240, feasibility=0.5, closed=1e-6),
    Row("landing-momentum", Landing, {"momentum": 0.8}, rate=0.2, steps=180, feasibility=0.5, closed=1e-6),
    Row("pogo", POGO, rate=0.3, steps=180, feasibility=0.06),
    Row("random-permutation", RandomSubmanifoldDescent, {"size": 5}, rate=0.65, steps=840),
    Row("random-haar", RandomSubmanifoldDescent, {"size": 5, "sampling": "haar"}, rate=0.65, steps=840),
    Row("momentum-stiefel-sgd", MomentumStiefelSGD, {"momentum": 0.8}, rate=0.2),
    Row("momentum-stiefel-adam", MomentumStiefelAdam, rate=0.2, steps=400, decays=True),
    Row("manifold-muon", ManifoldMuon, {"dual_steps": 3}, rate=0.3, steps=240, decays=True),
    Row("spel", SPEL, rate=0.3, steps=240, decays=True),
    Row("retracted-sgd", _retracted(torch.optim.SGD), {"momentum": 0.8}, rate=0.3, takes_all=True),
    Row(
        "retracted-adamw",
        _retracted(torch.optim.AdamW),
        {"weight_decay": 0.01},
        rate=0.3,
        steps=240,
        decays=True,
        takes_all=True,
    ),
)
NAMES = [row.name for row in ROWS]
