"""Full-batch minimization over manifold and plain parameters: trust regions, L-BFGS, conjugate gradients."""

from .conjugacy import ConjugacyRule, FletcherReeves, HagerZhang, HestenesStiefel, PolakRibiere
from .conjugate_gradient import ConjugateGradient
from .lbfgs import LBFGS
from .line_search import WolfeSearch
from .method import Iterate, Method
from .minimize import minimize
from .result import Evaluations, History, MinimizeResult, Reason
from .steepest_descent import SteepestDescent
from .trust_regions import TrustRegions

__all__ = [
    "LBFGS",
    "ConjugacyRule",
    "ConjugateGradient",
    "Evaluations",
    "FletcherReeves",
    "HagerZhang",
    "HestenesStiefel",
    "History",
    "Iterate",
    "Method",
    "MinimizeResult",
    "PolakRibiere",
    "Reason",
    "SteepestDescent",
    "TrustRegions",
    "WolfeSearch",
    "minimize",
]
