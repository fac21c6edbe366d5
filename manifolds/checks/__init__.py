"""Numerical checks of a manifold's geometry, for any ``geoopt.Manifold`` and for ``SpectralTensorTrain``.

>>> from sttp.manifolds import Stiefel, checks
>>> checks.check_manifold(Stiefel("canonical"), (7, 3)).passed
True
"""

from ._axioms import check_manifold
from ._cost import check_gradient, check_hessian
from ._known import SHAPE, TRAIN, CheckedManifold, known_manifolds
from ._results import CheckResult, Finding, Verdict
from ._retraction import check_retraction
from ._slopes import Slope, fit_slope

__all__ = [
    "SHAPE",
    "TRAIN",
    "CheckResult",
    "CheckedManifold",
    "Finding",
    "Slope",
    "Verdict",
    "check_gradient",
    "check_hessian",
    "check_manifold",
    "check_retraction",
    "fit_slope",
    "known_manifolds",
]
