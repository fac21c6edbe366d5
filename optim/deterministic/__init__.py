"""Full-batch minimization over manifold and plain parameters: trust regions, L-BFGS, conjugate gradients."""

from ._conjugacy import ConjugacyRule, FletcherReeves, HagerZhang, HestenesStiefel, PolakRibiere
from ._conjugate_gradient import ConjugateGradient
from ._lbfgs import LBFGS
from ._line_search import WolfeSearch
from ._method import Iterate, Method
from ._minimize import minimize
from ._problem import Evaluation, Problem
from ._result import Evaluations, History, MinimizeResult, Reason
from ._steepest_descent import SteepestDescent
from ._trust_regions import TrustRegions

__all__ = [
    "LBFGS",
    "ConjugacyRule",
    "ConjugateGradient",
    "Evaluation",
    "Evaluations",
    "FletcherReeves",
    "HagerZhang",
    "HestenesStiefel",
    "History",
    "Iterate",
    "Method",
    "MinimizeResult",
    "PolakRibiere",
    "Problem",
    "Reason",
    "SteepestDescent",
    "TrustRegions",
    "WolfeSearch",
    "minimize",
]
