"""The public names of ``sttp.study``, which it loads on first use: help of the command line need not wait for torch."""

from ._compare import compare
from .case import Case, Run, Trial
from .definition import STUDIES, Study, read_study
from .design import DESIGNS, Design, Grid, OneAtATime
from .kind import KINDS, Kind
from .networks import NETWORKS, NetworkEntry
from .parts import GEOMETRIES, MINIMIZERS, OPTIMIZERS, RETRACTIONS, SPECIFICATIONS, SPECTRA, specification
from .pretrained import Compressed, compress, distillation, fitted, load_compressed, recover
from .problems import PROBLEMS, CostProblem, Problem
from .register import Appearance, Register
from .result import Look, Result, Timing
from .search import STRATEGIES, Bisection, GridSearch, Progress, Strategy
from .settings import Settings
from .surroundings import Surroundings
from .tasks import METHODS, TASKS, Evaluation, Method, SupervisedTask, Task, Training, TrainingCase

__all__ = [
    "DESIGNS",
    "GEOMETRIES",
    "KINDS",
    "METHODS",
    "MINIMIZERS",
    "NETWORKS",
    "OPTIMIZERS",
    "PROBLEMS",
    "RETRACTIONS",
    "SPECIFICATIONS",
    "SPECTRA",
    "STRATEGIES",
    "STUDIES",
    "TASKS",
    "Appearance",
    "Bisection",
    "Case",
    "Compressed",
    "CostProblem",
    "Design",
    "Evaluation",
    "Grid",
    "GridSearch",
    "Kind",
    "Look",
    "Method",
    "NetworkEntry",
    "OneAtATime",
    "Problem",
    "Progress",
    "Register",
    "Result",
    "Run",
    "Settings",
    "Strategy",
    "Study",
    "SupervisedTask",
    "Surroundings",
    "Task",
    "Timing",
    "Training",
    "TrainingCase",
    "Trial",
    "compare",
    "compress",
    "distillation",
    "fitted",
    "load_compressed",
    "read_study",
    "recover",
    "specification",
]
