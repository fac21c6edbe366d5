"""Optimization problems and studies of optimizers on them: frames, weights of trains, points of any manifold."""

from .case import ProblemCase
from .cost_problem import CostProblem
from .digits import DigitsTraining
from .eigenvectors import Brockett, LeadingEigenspace
from .frame_problem import FrameProblem, Procrustes
from .instance import CostInstance, FrameVariable, Instance, PointVariable, TrainVariable, Variable
from .kind import OptimizersKind
from .measured_train import Completion, Recovery
from .problem import PROBLEMS, KnownProblem, Problem
from .studies import OPTIMIZERS_STUDY
from .train_problem import LowRankApproximation, TrainProblem

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
