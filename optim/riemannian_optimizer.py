"""What the Riemannian optimizers share: torch's conventions, and one batched kernel a shape."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import geoopt
import torch
from torch import Tensor

from ..manifolds import TrainMember
from ..manifolds.embedded_train import EmbeddedTrain
from ..manifolds.householder import require_precision
from ..manifolds.replacement import require_current

# Bytes of points that a step takes at a time on a CPU: its temporaries stay in the cache, and in malloc's hands.
_CACHED_BYTES: Final = 1 << 18

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class RiemannianOptimizer(torch.optim.Optimizer):
    """Base of the optimizers over manifold and plain parameters together.

    In each parameter group the parameters of one manifold, shape, dtype and device are stacked and moved by one call of
    :meth:`_move`, on a CPU by one for each piece that fits its cache. Under the embedded metric whole weights of one
    kind are stacked, with all their parameters. Plain parameters get torch's own update. ``.grad`` is read and never
    written. State is kept for each parameter, in tensors of its own, so that ``state_dict`` is torch's.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as in torch.

        Raises:
            ValueError: a hyperparameter is out of range.
            TypeError: a manifold parameter has a precision below float32.
        """
        self._require_valid({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            for parameter in self.param_groups[-1]["params"]:
                if isinstance(parameter, geoopt.ManifoldTensor):
                    require_precision(parameter.dtype, "manifold parameters")
        except TypeError:
            self.param_groups.pop()  # a refused group leaves the optimizer as it was
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; a closure is called with gradients enabled, and its loss returned.

        Raises:
            RuntimeError: a gradient is sparse, or a network has replaced a parameter since.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            plain, stacks = self._collect(group)
            if plain:
                self._step_plain(plain, group)
            for manifold, members in stacks:
                # On a CPU pieces that stay in its cache beat one large batch; a GPU takes the batch whole.
                size = len(members)
                if members[0][0].device.type == "cpu":
                    size = max(1, _CACHED_BYTES // sum(p.numel() * p.element_size() for p in members[0]))
                for start in range(0, len(members), size):
                    self._step_stack(manifold, members[start : start + size], group)
        return loss

    def _collect(self, group: dict[str, Any]) -> tuple[list[Tensor], list[tuple[Any, list[tuple[Tensor, ...]]]]]:
        """Return plain parameters, and for each manifold and shape the members of a stack.

        A member is one parameter, or all parameters of a train whose metric belongs to them together.
        """
        plain: list[Tensor] = []
        stacks: dict[object, tuple[Any, list[tuple[Tensor, ...]]]] = {}
        trains: dict[int, list[geoopt.ManifoldTensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                require_current(parameter)
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError(
                    f"{type(self).__name__} takes dense gradients, got a sparse one of shape "
                    f"{tuple(parameter.shape)}; build the layer with sparse=False"
                )
            state = self.state[parameter]
            if not state:
                self._begin(parameter, state)
            if not isinstance(parameter, geoopt.ManifoldTensor):
                plain.append(parameter)
            elif isinstance(parameter.manifold, TrainMember):
                trains.setdefault(id(parameter.manifold.whole), []).append(parameter)
            else:
                key = (parameter.manifold, parameter.shape, parameter.dtype, parameter.device, self._stage(state))
                stacks.setdefault(key, (parameter.manifold, []))[1].append((parameter,))
        for members in trains.values():
            members.sort(key=lambda parameter: parameter.manifold.position)
            whole = members[0].manifold.whole
            if len(members) != len(whole.shapes):
                raise RuntimeError(
                    f"metric='embedded' takes the {len(whole.shapes)} parameters of a weight together, got gradients "
                    f"for {len(members)} of them in one parameter group; give all, or use metric='euclidean'"
                )
            train_key = (whole.train, members[0].dtype, members[0].device, self._stage(self.state[members[0]]))
            stacks.setdefault(train_key, (whole, []))[1].append(tuple(members))
        return plain, list(stacks.values())

    def _step_stack(self, manifold: Any, members: list[tuple[Tensor, ...]], group: dict[str, Any]) -> None:
        """Stack parameters, gradients and state, move them, and write parameters and state back."""
        points = _stack(manifold, members)
        gradients = _stack(manifold, [tuple(cast(Tensor, p.grad) for p in member) for member in members])
        states = [[self.state[parameter] for parameter in member] for member in members]
        stacked = {
            name: _stack(manifold, [tuple(state[name] for state in member) for member in states])
            for name in states[0][0]
        }
        if group["maximize"]:
            gradients = -gradients
        if group["weight_decay"]:
            gradients = gradients + group["weight_decay"] * points
        new_points, new_state = self._move(manifold, points, gradients, stacked, group)
        targets = [parameter for member in members for parameter in member]
        sources = _unstack(manifold, new_points, len(members[0]))
        for name, values in new_state.items():
            flat_states = [state for member in states for state in member]
            for state, value in zip(flat_states, _unstack(manifold, values, len(members[0])), strict=True):
                if name in state:
                    targets.append(state[name])
                    sources.append(value.view_as(state[name]))  # a train of one entry has its scalars as its vectors
                else:
                    state[name] = value.clone()
        torch._foreach_copy_(targets, sources)

    def _begin(self, parameter: Tensor, state: dict[str, Any]) -> None:
        """Fill the state of a parameter that is stepped for the first time; none by default."""

    def _stage(self, state: dict[str, Any]) -> object:
        """Return what keeps parameters of one shape apart, such as a first step that differs from later ones."""
        return None

    @abc.abstractmethod
    def _require_valid(self, group: dict[str, Any]) -> None:
        """Raise a ValueError for a hyperparameter of a group that is out of range."""

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


def _stack(manifold: Any, members: list[tuple[Tensor, ...]]) -> Tensor:
    """Return one tensor for all members: theirs, or the vector of a train's, or what all tensors of a train share."""
    if not isinstance(manifold, EmbeddedTrain):
        return torch.stack([tensor for (tensor,) in members])
    if [tuple(tensor.shape) for tensor in members[0]] == manifold.shapes:
        return torch.stack([manifold.pack(member) for member in members])
    return torch.stack([member[0] for member in members])


def _unstack(manifold: Any, stacked: Tensor, size: int) -> list[Tensor]:
    """Return the tensors of all members, ``size`` of each, one member's after another's: undo :func:`_stack`."""
    if not isinstance(manifold, EmbeddedTrain):
        return list(stacked.unbind())
    if stacked.dim() == 2 and stacked.shape[-1] == manifold.dimension:
        columns = [tensor.unbind() for tensor in manifold.unpack(stacked)]
        return [tensor for member in zip(*columns, strict=True) for tensor in member]
    return [tensor for tensor in stacked.unbind() for _ in range(size)]


def require_nonnegative(**values: float | Tensor) -> None:
    """Refuse a negative or NaN hyperparameter.

    Raises:
        ValueError: the value is negative or NaN.
    """
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
