"""The smallest complete optimizer: a new file, and one row in ``tests/optimizer_registry.py``, which tests it.

Riemannian gradient descent with steps of a given length. Batching by shape, parameter groups, schedulers, closures,
``maximize``, state, the checks of options and gradients of any size come from the base class.
"""

from typing import Any, final

import geoopt
import torch
from torch import Tensor

from sttp.optim import RiemannianOptimizer


@final
class NormalizedDescent(RiemannianOptimizer):
    """X ← R_X(−lr · g/‖g‖_X) with the Riemannian gradient g of any manifold; sign descent for plain parameters."""

    def __init__(self, params: Any, lr: float = 1e-2, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0, "maximize": maximize})

    def _step_plain(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        sign = 1 if group["maximize"] else -1
        for parameter in parameters:
            parameter.add_(parameter.grad.sign(), alpha=sign * group["lr"])

    def _move(
        self,
        manifold: geoopt.Manifold,
        points: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        gradients = manifold.egrad2rgrad(points, gradients)
        # Not below what squares can tell from zero.
        norm = manifold.norm(points, gradients, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny ** 0.5)
        # A unit vector made of rounding alone is no tangent vector until it is projected once more.
        direction = manifold.proju(points, gradients / norm)
        return manifold.retr(points, -group["lr"] * direction), state
