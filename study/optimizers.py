"""The optimizers that a study can name; each takes manifold and plain parameters together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import geoopt
from torch.nn import Parameter
from torch.optim import Optimizer

from ..optim import RiemannianAdam, RiemannianSGD

OPTIMIZERS: Final[dict[str, Callable[[Iterable[Parameter], float], Optimizer]]] = {
    "riemannian-adam": lambda parameters, rate: RiemannianAdam(parameters, lr=rate),
    "riemannian-sgd": lambda parameters, rate: RiemannianSGD(parameters, lr=rate, momentum=0.9),
    "geoopt-adam": lambda parameters, rate: geoopt.optim.RiemannianAdam(parameters, lr=rate),
    "geoopt-sgd": lambda parameters, rate: geoopt.optim.RiemannianSGD(parameters, lr=rate, momentum=0.9),
}
