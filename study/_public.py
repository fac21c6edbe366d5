"""The public names of ``sttp.study``, which it loads on first use: help of the command line need not wait for torch."""

from .case import Case, Run
from .definition import STUDIES, Study, read_study
from .design import DESIGNS, Design, Grid, OneAtATime
from .kind import KINDS, Kind
from .parts import GEOMETRIES, MINIMIZERS, OPTIMIZERS, RETRACTIONS, SPECIFICATIONS, SPECTRA, specification
from .register import Appearance, Register
from .result import Look, Result, Timing
from .search import STRATEGIES, Bisection, GridSearch, Progress, Strategy
from .surroundings import Surroundings
from .trial import Trial

__all__ = [
    "DESIGNS",
    "GEOMETRIES",
    "KINDS",
    "MINIMIZERS",
    "OPTIMIZERS",
    "RETRACTIONS",
    "SPECIFICATIONS",
    "SPECTRA",
    "STRATEGIES",
    "STUDIES",
    "Appearance",
    "Bisection",
    "Case",
    "Design",
    "Grid",
    "GridSearch",
    "Kind",
    "Look",
    "OneAtATime",
    "Progress",
    "Register",
    "Result",
    "Run",
    "Strategy",
    "Study",
    "Surroundings",
    "Timing",
    "Trial",
    "read_study",
    "specification",
]
