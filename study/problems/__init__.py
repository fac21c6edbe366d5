"""Optimization problems and studies of optimizers on them: frames, weights of trains, points of any manifold."""

from typing import Final

from ..definition import STUDIES, Study
from ..kind import KINDS
from ..parts import MINIMIZERS
from .case import ProblemCase
from .cost_problem import CostProblem
from .digits import DigitsTraining
from .frame_problems import Brockett, FrameProblem, LeadingEigenspace, Procrustes
from .instance import CostInstance, FrameVariable, Instance, PointVariable, TrainVariable, Variable
from .kind import OptimizersKind
from .measured_train import Completion, Recovery
from .problem import PROBLEMS, KnownProblem, Problem
from .train_problem import LowRankApproximation, TrainProblem

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

__all__ = [
    "OPTIMIZERS_STUDY",
    "PROBLEMS",
    "Brockett",
    "Completion",
    "CostInstance",
    "CostProblem",
    "DigitsTraining",
    "FrameProblem",
    "FrameVariable",
    "Instance",
    "KnownProblem",
    "LeadingEigenspace",
    "LowRankApproximation",
    "OptimizersKind",
    "PointVariable",
    "Problem",
    "ProblemCase",
    "Procrustes",
    "Recovery",
    "TrainProblem",
    "TrainVariable",
    "Variable",
]
