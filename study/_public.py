"""The public names of ``sttp.study``, which it loads on first use: help of the command line need not wait for torch."""

from .configuration import read_study, study_of
from .curve import Curve, Method
from .networks import NETWORKS, NetworkEntry
from .optimizers import OPTIMIZERS
from .parameterizations import GEOMETRIES, PARAMETERIZATIONS, SPECTRA, specification
from .result import Result, Snapshot, Timing
from .run import Run
from .settings import Settings
from .studies import STUDIES, named_study
from .study import Study
from .surroundings import Surroundings
from .tasks import TASKS
from .tasks.task import Evaluation, Task

__all__ = [
    "GEOMETRIES",
    "NETWORKS",
    "OPTIMIZERS",
    "PARAMETERIZATIONS",
    "SPECTRA",
    "STUDIES",
    "TASKS",
    "Curve",
    "Evaluation",
    "Method",
    "NetworkEntry",
    "Result",
    "Run",
    "Settings",
    "Snapshot",
    "Study",
    "Surroundings",
    "Task",
    "Timing",
    "named_study",
    "read_study",
    "specification",
    "study_of",
]
