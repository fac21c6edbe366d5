"""Optimization problems and studies of optimizers on them: frames, weights of trains, points of any manifold."""

from .brockett import Brockett
from .case import ProblemCase
from .completion import Completion
from .cost_problem import CostProblem
from .digits import DigitsTraining
from .frame_problem import FrameProblem
from .instance import CostInstance, Instance
from .kind import OptimizersKind
from .leading_eigenspace import LeadingEigenspace
from .low_rank_approximation import LowRankApproximation
from .problem import PROBLEMS, KnownProblem, Problem
from .procrustes import Procrustes
from .recovery import Recovery
from .studies import OPTIMIZERS_STUDY
from .train_problem import TrainProblem
from .variable import FrameVariable, PointVariable, TrainVariable, Variable

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
