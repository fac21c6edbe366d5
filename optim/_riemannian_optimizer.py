"""What the Riemannian optimizers share: torch's conventions, and one batched kernel a shape."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any, ClassVar, Final

import geoopt
import torch
from torch import Tensor

from ..manifolds import (
    EmbeddedTrain,
    FrameManifold,
    declare_region,
    longest_step,
    require_current,
    require_function,
    without_autocast,
)
from ._kinds import Batch, Kinds
from ._magnitudes import largest_entry, limit_
from ._options import listed_group, listed_parameters, require_options, require_state
from ._parameter_stack import Member, ParameterStack

# Bytes of points that a step takes at a time on a CPU, so that its temporaries stay in the last cache.
_CACHED_BYTES: Final = 1 << 22

# What schedulers change.
_SCHEDULED: Final = ("lr", "momentum", "betas")

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class RiemannianOptimizer(torch.optim.Optimizer):
    """Base of the optimizers over manifold and plain parameters together.

    In each parameter group the parameters of one manifold, shape, dtype and device are stacked and moved by one call of
    :meth:`_move`, on a CPU by one for each piece that fits its cache. Under the embedded metric whole weights of one
    kind are stacked, with all their parameters. Plain parameters get torch's own update. ``.grad`` is read and never
    written. State is kept for each parameter under torch's names; where parameters are stacked it is a view of one
    tensor, of which ``state_dict`` gives copies. Of plain parameters everything is as in torch.

    After a step all manifold parameters are finite, whatever the gradients. One whose gradient, with what weight decay
    adds, has an entry that is not finite is moved as if it were zero (one frame alone, where a parameter is a batch of
    them). Gradients so long that computing with them would overflow, or that a frame's step would be nothing but their
    rounding, are cut down: entries to 2.8e14 in float32 and 4e115 in float64, and on frames to 2.9e3/lr and 6.7e7/lr,
    unless steps do not grow with the gradient. Nothing is read from the device for that. With ``error_if_nonfinite`` in
    a group the step raises instead where a gradient is not finite, before anything has moved, for which it has to read.

    Attributes:
        normalizes: whether the steps of a subclass do not grow with the gradient, as Adam's do not.
    """

    normalizes: ClassVar[bool] = False

    _stacks: dict[object, ParameterStack]
    _kinds: Kinds
    _scheduled: list[list[Any]]
    # The step as torch.compile leaves it alone; made by the first optimizer, since it imports the compiler (1 s).
    _plain_step: ClassVar[Callable[..., Any] | None] = None

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self._begin_anew()
        self._require_options(defaults)
        super().__init__(listed_parameters(params), defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over, as in torch: after copying, reading from a file or loading a state."""
        super().__setstate__(state)
        for group in self.param_groups:  # of a file that an earlier version wrote
            for name, value in self.defaults.items():
                group.setdefault(name, value)
        self._begin_anew()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as in torch; of what is stacked it has copies, which drag no stack along into a file."""
        result = super().state_dict()
        result["state"] = {
            index: {name: _without_base(value) for name, value in state.items()}
            for index, state in result["state"].items()
        }
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, as in torch.

        Raises:
            ValueError, TypeError: it is none of such an optimizer, or has an option that is out of range.
        """
        require_state(state_dict, len(self.param_groups))
        for group in state_dict["param_groups"]:
            self._require_options({**self.defaults, **group})
        super().load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as in torch.

        Raises:
            ValueError: a hyperparameter is out of range.
            TypeError: the group is none, an option of the wrong kind, or a manifold parameter complex or of a precision
                below float32.
        """
        param_group = listed_group(param_group)
        self._require_options({**self.defaults, **param_group})
        for item in param_group["params"]:
            parameter = item[1] if isinstance(item, tuple) else item
            if isinstance(parameter, geoopt.ManifoldTensor):
                self._require_manifold(parameter.manifold)
        super().add_param_group(param_group)

    def compile(self, **options: Any) -> None:
        """Have ``torch.compile`` make the kernels that move stacks, with its options; in place, as ``nn.Module`` does.

        What surrounds the kernels is left to Python: ``torch.compile(optimizer.step)`` runs it as it is.
        """
        self._move = torch.compile(self._move, **options)  # type: ignore[method-assign]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure is called with gradients enabled, and its loss returned.

        Raises:
            RuntimeError: a gradient is sparse, or a network has replaced a parameter since.
            ValueError: gradients of a weight under the embedded metric are missing.
        """
        assert RiemannianOptimizer._plain_step is not None
        return RiemannianOptimizer._plain_step(self, closure)

    @torch.no_grad()
    def _step(self, closure: Callable[[], Any] | None) -> Any:
        """Make one step; see :meth:`step`."""
        loss = None
        if closure is not None:
            require_function("closure", closure, "a function of nothing that returns the loss, or None")
            with torch.enable_grad():
                loss = closure()
        # Both refuse before anything has moved.
        self._require_scheduled()
        collected = [self._collect(group) for group in self.param_groups]
        for group in self.param_groups:
            if group.get("error_if_nonfinite"):
                _require_finite_gradients(group["params"])
        stacks: dict[object, ParameterStack] = {}
        for index, (group, (plain, kinds)) in enumerate(zip(self.param_groups, collected, strict=True)):
            if plain:
                self._step_plain(plain, self._decayed(plain, group))
            for kind, manifold, members in kinds:
                # A GPU takes the batch whole.
                size = len(members)
                if members[0][0].device.type == "cpu":
                    size = max(1, _CACHED_BYTES // sum(p.numel() * p.element_size() for p in members[0]))
                for start in range(0, len(members), size):
                    key = (index, kind, start)
                    stacks[key] = self._stack(key, manifold, members[start : start + size], group)
                    self._step_stack(stacks[key], group)
        self._stacks = stacks
        return loss

    def _collect(self, group: dict[str, Any]) -> tuple[list[Tensor], list[Batch]]:
        """Return plain parameters, and manifold parameters in batches."""
        present: list[Tensor] = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                require_current(parameter)
                continue
            if gradient.is_sparse:
                raise RuntimeError(
                    f"{type(self).__name__} takes dense gradients, got a sparse one of shape "
                    f"{tuple(parameter.shape)}; build the layer with sparse=False"
                )
            state = self.state[parameter]
            if not state:
                self._begin(parameter, state)
            present.append(parameter)
        return self._kinds.sort(present, lambda parameter: self._stage(self.state[parameter]))

    def _stack(self, key: object, manifold: Any, members: list[Member], group: dict[str, Any]) -> ParameterStack:
        """Return the stack of the last step where it still holds, else a new one."""
        states = [self.state[parameter] for member in members for parameter in member]
        stack = self._stacks.get(key)
        if stack and stack.holds(members, states):
            return stack
        for member in members:
            for parameter in member:
                declare_region(parameter, self._region(group))
        return ParameterStack(manifold, members, states)

    def _require_scheduled(self) -> None:
        """Refuse what a scheduler has made of a group's options; those that are the same objects still are known."""
        scheduled = [[group.get(name) for name in _SCHEDULED] for group in self.param_groups]
        for group, found, known in zip_longest(self.param_groups, scheduled, self._scheduled):
            if known is None or any(one is not other for one, other in zip(found, known, strict=True)):
                self._require_options(group)
        self._scheduled = scheduled

    def _begin_anew(self) -> None:
        self._stacks = {}
        self._kinds = Kinds()
        self._scheduled = []
        if RiemannianOptimizer._plain_step is None:
            RiemannianOptimizer._plain_step = torch.compiler.disable(RiemannianOptimizer._step)

    def _step_stack(self, stack: ParameterStack, group: dict[str, Any]) -> None:
        """Move the parameters of a stack."""
        points, gradients = stack.points(), stack.gradients()
        if group["maximize"]:
            gradients.neg_()
        if group["weight_decay"] and not group.get("decoupled_weight_decay"):
            gradients.add_(points, alpha=group["weight_decay"])
        elif group["weight_decay"] and isinstance(stack.manifold, geoopt.Euclidean):
            points.mul_(1 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"] and isinstance(stack.manifold, EmbeddedTrain):
            stack.manifold.spectrum_of(points).mul_(1 - group["lr"] * group["weight_decay"])
        limit_(gradients, self._most(stack.manifold, group, points.dtype))
        with without_autocast(points):  # whose products would cost the frames their orthogonality
            stack.write(*self._move(stack.manifold, points, gradients, dict(stack.state), group))

    def _most(self, manifold: Any, group: dict[str, Any], dtype: torch.dtype) -> float | Tensor:
        """Return the largest entry of a gradient to compute with: see :mod:`sttp.optim._magnitudes`."""
        most, rate = largest_entry(dtype), group["lr"]
        if self.normalizes or not isinstance(manifold, FrameManifold | EmbeddedTrain):
            return most
        if isinstance(rate, Tensor):
            return (longest_step(dtype) / rate).clamp(max=most)
        return min(most, longest_step(dtype) / rate) if rate else most

    def _require_options(self, group: dict[str, Any]) -> None:
        require_options(group)
        self._require_valid(group)

    @staticmethod
    def _decayed(parameters: list[Tensor], group: dict[str, Any]) -> dict[str, Any]:
        """Apply a decoupled weight decay to plain parameters; return the group with what is left to do."""
        if not group["weight_decay"] or not group.get("decoupled_weight_decay"):
            return group
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        return {**group, "weight_decay": 0.0}

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        """Fill the state of a parameter that is stepped for the first time; none by default."""

    def _stage(self, state: dict[str, Any]) -> object:
        """Return what keeps parameters of one shape apart, such as a first step that differs from later ones."""
        return None

    def _region(self, group: dict[str, Any]) -> float:
        """Return the ‖XᵀX − I‖_F within which frames are kept; 0, the default, where they are kept to rounding."""
        return 0.0

    def _require_manifold(self, manifold: geoopt.Manifold) -> None:
        """Raise a TypeError for a manifold on which the optimizer is not defined; it takes all by default."""

    def _require_valid(self, group: dict[str, Any]) -> None:  # nothing more to ask is the default
        """Refuse an option of a group that is the optimizer's own; those of torch's names have been looked at."""

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
        """Return new points and new state of stacked parameters.

        The points and gradients are copies, and the state is the stack's own: all may be overwritten on the way.
        """


def _without_base(value: Any) -> Any:
    """Return a copy of a tensor that is a view, and all else as it is."""
    return value.clone() if isinstance(value, Tensor) and value._is_view() else value


def _require_finite_gradients(parameters: list[Tensor]) -> None:
    """Refuse gradients that are not finite.

    Raises:
        RuntimeError: there is one.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients or bool(torch.stack([norm.cpu() for norm in torch._foreach_norm(gradients)]).isfinite().all()):
        return
    for gradient in gradients:  # a norm may be infinite where no entry is
        if not bool(gradient.isfinite().all()):
            raise RuntimeError(
                f"the gradient of a parameter of shape {tuple(gradient.shape)} is not finite, and no parameter has "
                f"been moved; lower the learning rate or clip the gradients, or leave out error_if_nonfinite=True to "
                f"skip such gradients"
            )
