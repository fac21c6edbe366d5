"""What the Riemannian optimizers share: torch's conventions, and one batched kernel a shape."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any

import geoopt
import torch
from torch import Tensor

from ..manifolds.householder import require_precision

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class RiemannianOptimizer(torch.optim.Optimizer):
    """Base of the optimizers over manifold and plain parameters together.

    In each parameter group the parameters of one manifold, shape, dtype and device are stacked and moved by one call of
    :meth:`_move`; plain parameters get torch's own update. ``.grad`` is read and never written. State is kept for
    each parameter, in tensors of its own, so that ``state_dict`` is torch's.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as in torch.

        Raises:
            TypeError: a manifold parameter has a precision below float32.
        """
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if isinstance(parameter, geoopt.ManifoldParameter):
                require_precision(parameter.dtype, "manifold parameters")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure is called with gradients enabled, and its loss returned.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            plain: list[Tensor] = []
            stacks: dict[object, list[geoopt.ManifoldParameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    raise RuntimeError(
                        f"{type(self).__name__} takes dense gradients, got a sparse one of shape "
                        f"{tuple(parameter.shape)}; build the layer with sparse=False"
                    )
                state = self.state[parameter]
                if not state:
                    self._begin(parameter, state)
                if isinstance(parameter, geoopt.ManifoldParameter):
                    key = (parameter.manifold, parameter.shape, parameter.dtype, parameter.device, self._stage(state))
                    stacks.setdefault(key, []).append(parameter)
                else:
                    plain.append(parameter)
            if plain:
                self._step_plain(plain, group)
            for parameters in stacks.values():
                self._step_stack(parameters, group)
        return loss

    def _step_stack(self, parameters: list[geoopt.ManifoldParameter], group: dict[str, Any]) -> None:
        """Stack parameters, gradients and state, move them, and write parameters and state back."""
        points = torch.stack(list(parameters))
        gradients = torch.stack([parameter.grad for parameter in parameters])
        states = [self.state[parameter] for parameter in parameters]
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        if group["maximize"]:
            gradients = -gradients
        if group["weight_decay"]:
            gradients = gradients + group["weight_decay"] * points
        new_points, new_state = self._move(parameters[0].manifold, points, gradients, stacked, group)
        targets, sources = list(parameters), list(new_points.unbind())
        for name, values in new_state.items():
            for state, value in zip(states, values.unbind(), strict=True):
                if name in state:
                    targets.append(state[name])
                    sources.append(value)
                else:
                    state[name] = value.clone()
        torch._foreach_copy_(targets, sources)

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        """Fill the state of a parameter that is stepped for the first time; none by default."""

    def _stage(self, state: dict[str, Any]) -> object:
        """Return what keeps parameters of one shape apart, such as a first step that differs from later ones."""
        return None

    @abc.abstractmethod
    def _step_plain(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Make torch's own step for parameters without a manifold."""

    @abc.abstractmethod
    def _move(
        self,
        manifold: geoopt.Manifold,
        points: Tensor,
        gradients: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return new points and new state of stacked parameters; a pure function of its arguments."""


def require_nonnegative(**values: float | Tensor) -> None:
    """Refuse a negative or NaN hyperparameter.

    Raises:
        ValueError: the value is negative or NaN.
    """
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
