"""The fully connected layer."""

from __future__ import annotations

import math
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from ._plan import Forward, Plan, linear_plan
from ._spectral_layer import SpectralLayer
from ._spectral_weight import Factors, product_of


@final
class Linear(SpectralLayer):
    """y = x Wᵀ + b with a spectral weight: :class:`torch.nn.Linear` with ``spec=`` beside its own arguments."""

    namesake = nn.Linear

    in_features: int
    out_features: int

    def forward(self, input: Tensor) -> Tensor:
        """Return y of shape ``(..., out_features)`` for x of shape ``(..., in_features)``."""
        number = math.prod(input.shape[:-1])  # which, unlike numel(), lets an exported size vary
        route = self.route(number)
        if route.product == "dense":
            return F.linear(input, self._weight(), self.bias)
        if route.product == "factors":
            left, values, right = self.factors()
            return F.linear(F.linear(input, right.mT), left * values, self.bias)
        if input.shape[-1:] != (self.in_features,):  # which torch's own products notice, and reshaping might not
            raise RuntimeError(
                f"mat1 and mat2 shapes cannot be multiplied ({number}x{input.shape[-1:].numel()} and "
                f"{self.in_features}x{self.out_features})"
            )
        output = self.spectral.multiply(input.reshape(number, self.in_features), route)
        output = output.reshape(*input.shape[:-1], self.out_features)
        return output if self.bias is None else output + self.bias.to(output.dtype)

    def factors(self) -> Factors:
        """Return U, s and V of this layer's rows."""
        factors = self.spectral.factors()
        return factors if self.rows is None else factors._replace(left=factors.left[slice(*self.rows)])

    def _weight(self) -> Tensor:
        return super()._weight() if self.rows is None else product_of(self.factors())

    def _plan(self, forward: Forward) -> Plan:
        plan = linear_plan(self.spectral.manifold, forward)
        if self.rows is None:
            return plan
        # The cores make all rows at once.
        return Plan(forward, tuple(route for route in plan.routes if route.product != "cores"))
