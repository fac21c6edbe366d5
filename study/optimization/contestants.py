"""The optimizers that are compared: those that step by learning rates, and the methods of ``minimize``."""

from __future__ import annotations

from typing import Final

from ...optim import LBFGS, ConjugateGradient, HagerZhang, HestenesStiefel, SteepestDescent, TrustRegions
from ...optim.deterministic import Method
from ..optimizers import OPTIMIZERS, BuildOptimizer

METHODS: Final[dict[str, Method]] = {
    "trust-regions": TrustRegions(),
    "lbfgs": LBFGS(),
    "conjugate-gradient-hs": ConjugateGradient(rule=HestenesStiefel()),
    "conjugate-gradient-hz": ConjugateGradient(rule=HagerZhang()),
    "steepest-descent": SteepestDescent(),
}


def register_optimizer(name: str, build: BuildOptimizer) -> None:
    """Make an optimizer known to studies by a name::

        register_optimizer("mine", lambda parameters, rate: Mine(parameters, lr=rate))

    It need not be importable: worker processes are sent the function itself.

    Args:
        name: the name; one that exists is replaced.
        build: returns the optimizer for parameters, manifold and plain ones together, at a learning rate.

    Raises:
        ValueError: the name is that of a method of ``minimize``.
    """
    if name in METHODS:
        raise ValueError(f"name {name!r} is a method of minimize; choose another one")
    OPTIMIZERS[name] = build


def contestant_names() -> tuple[str, ...]:
    """Return the names of all optimizers and methods."""
    return (*OPTIMIZERS, *METHODS)


def is_deterministic(name: str) -> bool:
    """Return whether a name is that of a method of ``minimize``."""
    return name in METHODS
