"""The built-in study of optimizers, and the registrations of this wing."""

from __future__ import annotations

from typing import Final

from ..definition import STUDIES, Study
from ..kind import KINDS
from ..parts import MINIMIZERS
from .digits import DigitsTraining
from .eigenvectors import Brockett, LeadingEigenspace
from .frame_problem import Procrustes
from .kind import OptimizersKind
from .measured_train import Completion, Recovery
from .problem import PROBLEMS
from .train_problem import LowRankApproximation

for _problem in (
    Procrustes,
    Brockett,
    LeadingEigenspace,
    LowRankApproximation,
    Recovery,
    Completion,
    DigitsTraining,
):
    PROBLEMS.add(_problem.kind, _problem)

KINDS.add(OptimizersKind.name, OptimizersKind())

OPTIMIZERS_STUDY: Final = STUDIES.add(
    "optimizers",
    Study.from_dict(
        {
            "name": "optimizers",
            "kind": "optimizers",
            "title": "Optimizers, retractions, metrics and geometries on problems with known answers",
            "optimizers": [
                "riemannian-sgd",
                "cayley-adam",
                "cayley-sgd",
                "landing",
                "pogo",
                "random-submanifold",
                "momentum-stiefel-adam",
                "momentum-stiefel-sgd",
                "manifold-muon",
                "spel",
                "retracted-adamw",
                "geoopt-adam",
                "geoopt-sgd",
            ],
            "methods": list(MINIMIZERS),
            "retractions": ["polar", "cayley", "exponential"],
            "metrics": ["canonical", "embedded"],
            "geometries": ["grassmann", "householder", "householder-reduced"],
        }
    ),
)
