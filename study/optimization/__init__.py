"""The study of optimizers: one factor at a time on problems with known answers and on training.

What runs studies is in ``sttp.study.optimization.conduct``, which needs the extra `study`.
"""

from .configuration import optimizer_study, optimizer_study_of
from .contestants import METHODS, register_optimizer
from .digits_training import DigitsTraining
from .result import OptimizationResult, OptimizationTiming
from .run import OptimizationRun
from .setting import RETRACTIONS, Setting
from .storage import holds_optimizer_study
from .study import OPTIMIZER_STUDIES, OptimizerStudy

__all__ = [
    "METHODS",
    "OPTIMIZER_STUDIES",
    "RETRACTIONS",
    "DigitsTraining",
    "OptimizationResult",
    "OptimizationRun",
    "OptimizationTiming",
    "OptimizerStudy",
    "Setting",
    "holds_optimizer_study",
    "optimizer_study",
    "optimizer_study_of",
    "register_optimizer",
]
