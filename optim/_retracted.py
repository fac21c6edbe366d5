"""Any optimizer of torch, made Riemannian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import (
    FrameManifold,
    TrainMember,
    described,
    longest_step,
    require_current,
    require_function,
    require_integer,
    without_autocast,
)
from ._kinds import Kinds
from ._magnitudes import largest_entry, limit_
from ._options import listed_group, listed_parameters, require_options, require_parameter, require_state
from ._riemannian_optimizer import Parameters

# Options that mean the same in every optimizer that has them; all others are left to the optimizer.
_OPTIONS: Final = ("lr", "weight_decay", "momentum", "dampening", "nesterov", "amsgrad", "maximize", "capturable")


@final
class Retracted(torch.optim.Optimizer):
    r"""An optimizer of torch, or of the user's own, run on Riemannian gradients and brought back by a retraction.

    ``Retracted(torch.optim.AdamW(network.parameters(), lr=1e-3))``, or the class and its arguments,
    ``Retracted(torch.optim.AdamW, network.parameters(), lr=1e-3)``. At a point X with Euclidean gradient G the
    optimizer is given the Riemannian gradient g in G's place, moves X to X + Δ, and then (Li, Sajadmanesh, Li, Lyu
    2025, StelLA, Algorithm 1; arXiv:2510.01938)

        X ← R_X(P_X(Δ)),

    with the projection P_X and the retraction R_X of the manifold: any of geoopt's, and Stiefel with either metric and
    Grassmann of this package. It departs from the source in taking any manifold and retraction. As there, what the
    optimizer keeps (momentum, second moments) stays in the coordinates of the matrix: it is not transported, and its
    normal part is projected away in Δ. An optimizer that is coordinate by coordinate, such as Adam, stays so. Decoupled
    weight decay does nothing to a frame, being normal to it; an L2 penalty enters an optimizer's moments.

    Points are kept as well as the retraction keeps them, frames to rounding. To the optimizer's own cost a step adds 4
    products of n × p with p × p for the two projections, and the retraction, on all points of one shape at once.
    Plain parameters are the optimizer's alone. Parameter groups, state and ``state_dict`` are the optimizer's, which
    must not be stepped by itself; schedulers and gradient scalers take this object. A manifold parameter whose gradient
    is not finite is moved as if it were zero, one frame alone where it is a batch of them; a plain one as in torch.

    Args:
        optimizer: the optimizer, or its class.
        params: what a class is called with: parameters, named parameters or parameter groups, as in torch.
        width: c. The change Δ of a frame with n rows is scaled by √(c/n), as the source does with the hidden width of
            the network for c: coordinate by coordinate, Adam gives Δ the size √n, and so frames of any n turn alike.
            None scales nothing.
        **options: its keyword arguments.

    Raises:
        TypeError: the optimizer is none, or is LBFGS, which asks for the loss anew within a step; parameters are given
            beside an optimizer, or none beside a class; a manifold parameter is under the embedded metric, is complex
            or has a precision below float32.
        ValueError: an option is out of range, or the optimizer refuses it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | type[torch.optim.Optimizer],
        params: Parameters | None = None,
        *,
        width: int | None = None,
        **options: Any,
    ) -> None:
        if width is not None:
            require_integer("width", width, least=1)
        if isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
            if params is None:
                raise TypeError(
                    f"params must be given where optimizer is a class, got None beside {optimizer.__name__}"
                )
            require_options(options, _OPTIONS)
            optimizer = self._made(optimizer, listed_parameters(params), options)
        elif not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be an optimizer of torch or its class, got {described(optimizer)}")
        elif params is not None or options:
            raise TypeError(
                f"params and options belong to a class, got them beside a {type(optimizer).__name__} that has its own"
            )
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TypeError("optimizer must make one step from one gradient, got LBFGS; use sttp.optim.minimize")
        self.optimizer, self.width = optimizer, width
        for group in optimizer.param_groups:
            require_options(group, _OPTIONS)
            self._require_parameters(group["params"])
        # What Optimizer.__init__ sets up, with the groups and the state of the optimizer within.
        self.__setstate__({})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled optimizer, whose groups and state are those of the one within."""
        self.__dict__.update(state)
        self._kinds = Kinds()
        inner = self.optimizer
        super().__setstate__({"defaults": inner.defaults, "param_groups": inner.param_groups, "state": inner.state})

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made from."""
        return {"optimizer": self.optimizer, "width": self.width}

    def __repr__(self) -> str:
        """Return the printed form of the optimizer within, in this one's name."""
        return f"Retracted({self.optimizer!r})"

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters to the optimizer within.

        Raises:
            TypeError, ValueError: as the constructor.
        """
        param_group = listed_group(param_group)
        require_options(param_group, _OPTIONS)
        self._require_parameters(item[1] if isinstance(item, tuple) else item for item in param_group["params"])
        self.optimizer.add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer within."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state into the optimizer within.

        Raises:
            TypeError, ValueError: it is none, or has an option that is out of range.
        """
        require_state(state_dict, len(self.param_groups))
        for group in state_dict["param_groups"]:
            require_options(group, _OPTIONS)
        self.optimizer.load_state_dict(state_dict)
        self.param_groups, self.state = self.optimizer.param_groups, self.optimizer.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure is called once, with gradients enabled, and its loss returned.

        Raises:
            RuntimeError: a gradient is sparse, or a network has replaced a parameter since.
        """
        loss = None
        if closure is not None:
            require_function("closure", closure, "a function of nothing that returns the loss, or None")
            with torch.enable_grad():
                loss = closure()
        stacks = self._collect()
        starts = [torch.stack(list(members)) for _, members in stacks]
        euclidean = [[parameter.grad for parameter in members] for _, members in stacks]
        try:
            for (manifold, members), points, gradients in zip(stacks, starts, euclidean, strict=True):
                stacked = torch.stack([gradient for gradient in gradients if gradient is not None])
                limit_(stacked, largest_entry(stacked.dtype))
                with without_autocast(points):
                    tangent = manifold.egrad2rgrad(points, stacked)
                for parameter, gradient in zip(members, tangent, strict=True):
                    parameter.grad = gradient
            self.optimizer.step()
        finally:
            for (_, members), gradients in zip(stacks, euclidean, strict=True):
                for parameter, kept in zip(members, gradients, strict=True):
                    parameter.grad = kept
        for (manifold, members), points in zip(stacks, starts, strict=True):
            with without_autocast(points):
                # A step of the optimizer that overflowed counts as none, and a retraction cuts down the longest.
                change = torch.stack(list(members)).sub_(points)
                if self.width is not None and isinstance(manifold, FrameManifold | geoopt.Stiefel):
                    change.mul_(math.sqrt(self.width / points.shape[-2]))
                limit_(change, longest_step(change.dtype))
                change = manifold.proju(points, change)
                torch._foreach_copy_(list(members), list(manifold.retr(points, change).unbind()))
        return loss

    def _collect(self) -> list[tuple[geoopt.Manifold, list[Tensor]]]:
        """Return the manifold parameters that have a gradient, by manifold, shape, dtype and device."""
        present: list[Tensor] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    require_current(parameter)
                elif isinstance(parameter, geoopt.ManifoldTensor):
                    if parameter.grad.is_sparse:
                        raise RuntimeError(
                            f"Retracted takes dense gradients for manifold parameters, got a sparse one of shape "
                            f"{tuple(parameter.shape)}; build the layer with sparse=False"
                        )
                    present.append(parameter)
        _, batches = self._kinds.sort(present)
        return [(batch.manifold, [parameter for (parameter,) in batch.members]) for batch in batches]

    @staticmethod
    def _made(kind: type[torch.optim.Optimizer], params: list[Any], options: dict[str, Any]) -> torch.optim.Optimizer:
        """Return an optimizer of somebody else's class, whose refusals need not name an option."""
        make: Callable[..., torch.optim.Optimizer] = kind
        try:
            return make(params, **options)
        except Exception as error:
            raise ValueError(
                f"params and options must be such as {kind.__name__} takes, got {described(options)}, which it "
                f"refuses: {error}"
            ) from error

    @staticmethod
    def _require_parameters(parameters: Iterable[Tensor]) -> None:
        for parameter in parameters:
            if isinstance(parameter, geoopt.ManifoldTensor):
                require_parameter(parameter)
                if isinstance(parameter.manifold, TrainMember):
                    raise TypeError(
                        "Retracted moves one parameter at a time, and metric='embedded' belongs to all parameters of a "
                        "weight together; use RiemannianAdam or RiemannianSGD, or metric='euclidean'"
                    )
