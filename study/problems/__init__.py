"""Optimization problems whose least cost is known from elsewhere: over frames, and over the weights of trains."""

from typing import Final

from .brockett import Brockett
from .completion import Completion
from .frame_problem import FrameProblem
from .leading_eigenspace import LeadingEigenspace
from .low_rank_approximation import LowRankApproximation
from .problem import Problem
from .procrustes import Procrustes
from .recovery import Recovery
from .train_problem import TrainProblem
from .variable import FrameVariable, TrainVariable, Variable

PROBLEMS: Final[dict[str, type[Problem]]] = {
    problem.kind: problem
    for problem in (Procrustes, Brockett, LeadingEigenspace, LowRankApproximation, Recovery, Completion)
}

__all__ = [
    "PROBLEMS",
    "Brockett",
    "Completion",
    "FrameProblem",
    "FrameVariable",
    "LeadingEigenspace",
    "LowRankApproximation",
    "Problem",
    "Procrustes",
    "Recovery",
    "TrainProblem",
    "TrainVariable",
    "Variable",
]
