"""What the Riemannian optimizers share: torch's conventions, and one batched kernel a shape."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, NamedTuple, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import EmbeddedTrain, TrainMember, declare_region, require_current, require_precision, without_autocast
from ._parameter_stack import Member, ParameterStack

# Bytes of points that a step takes at a time on a CPU, so that its temporaries stay in the last cache.
_CACHED_BYTES: Final = 1 << 22

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class RiemannianOptimizer(torch.optim.Optimizer):
    """Base of the optimizers over manifold and plain parameters together.

    In each parameter group the parameters of one manifold, shape, dtype and device are stacked and moved by one call of
    :meth:`_move`, on a CPU by one for each piece that fits its cache. Under the embedded metric whole weights of one
    kind are stacked, with all their parameters. Plain parameters get torch's own update. ``.grad`` is read and never
    written. State is kept for each parameter under torch's names; where parameters are stacked it is a view of one
    tensor, of which ``state_dict`` gives copies. Of plain parameters everything is as in torch.

    A manifold parameter whose gradient has an entry that is not finite, or a norm that overflows, is moved as if its
    gradient were zero (one frame alone, where a parameter is a batch of them). With ``error_if_nonfinite`` in a group
    the step raises instead, before anything has moved, for which it has to read from the device.
    """

    _stacks: dict[object, ParameterStack]
    _kinds: dict[Tensor, _Kind]
    _numbers: dict[object, int]

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self._forget_stacks()
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over, as in torch: after copying, reading from a file or loading a state."""
        super().__setstate__(state)
        for group in self.param_groups:  # of a file that an earlier version wrote
            for name, value in self.defaults.items():
                group.setdefault(name, value)
        self._forget_stacks()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as in torch; of what is stacked it has copies, which drag no stack along into a file."""
        result = super().state_dict()
        result["state"] = {
            index: {name: _without_base(value) for name, value in state.items()}
            for index, state in result["state"].items()
        }
        return result

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
                    self._require_manifold(parameter.manifold)
        except TypeError:
            self.param_groups.pop()  # a refused group leaves the optimizer as it was
            raise

    def compile(self, **options: Any) -> None:
        """Have ``torch.compile`` make the kernels that move stacks, with its options; in place, as ``nn.Module`` does.

        What surrounds the kernels is left to Python: ``torch.compile(optimizer.step)`` runs it as it is.
        """
        self._move = torch.compile(self._move, **options)  # type: ignore[method-assign]

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not annotate it
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
        collected = [self._collect(group) for group in self.param_groups]  # which refuses before anything has moved
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
                    _keep_freed_memory()
                    size = max(1, _CACHED_BYTES // sum(p.numel() * p.element_size() for p in members[0]))
                for start in range(0, len(members), size):
                    key = (index, kind, start)
                    stacks[key] = self._stack(key, manifold, members[start : start + size], group)
                    self._step_stack(stacks[key], group)
        self._stacks = stacks
        return loss

    def _collect(self, group: dict[str, Any]) -> tuple[list[Tensor], list[tuple[object, Any, list[Member]]]]:
        """Return plain parameters, and for each kind of manifold parameter its key, the manifold and the members."""
        plain: list[Tensor] = []
        kinds: dict[object, tuple[object, Any, list[Member]]] = {}
        trains: dict[int, list[geoopt.ManifoldTensor]] = {}
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
            kind = self._kind(parameter)
            if kind is None:
                plain.append(parameter)
            elif kind.is_member:
                trains.setdefault(id(parameter.manifold.whole), []).append(parameter)
            else:
                key = (kind.number, self._stage(state))
                entry = kinds.get(key)
                if entry is None:
                    entry = kinds[key] = (key, kind.manifold, [])
                entry[2].append((parameter,))
        for members in trains.values():
            members.sort(key=lambda parameter: parameter.manifold.position)
            whole = members[0].manifold.whole
            if len(members) != len(whole.shapes):
                raise RuntimeError(
                    f"metric='embedded' takes the {len(whole.shapes)} parameters of a weight together, got gradients "
                    f"for {len(members)} of them in one parameter group; give all, or use metric='euclidean'"
                )
            train_key = (whole.train, members[0].dtype, members[0].device, self._stage(self.state[members[0]]))
            kinds.setdefault(train_key, (train_key, whole, []))[2].append(tuple(members))
        return plain, list(kinds.values())

    def _kind(self, parameter: Tensor) -> _Kind | None:
        """Return what a manifold parameter is stacked by, None for a plain one; comparing manifolds once is enough."""
        manifold = getattr(parameter, "manifold", None)
        known = self._kinds.get(parameter)
        if (
            known is not None
            and known.manifold is manifold
            and known.shape == parameter.shape
            and known.dtype == parameter.dtype
            and known.device == parameter.device
        ):
            return known
        if not isinstance(parameter, geoopt.ManifoldTensor):
            return None
        key = (manifold, parameter.shape, parameter.dtype, parameter.device)
        number = self._numbers.setdefault(key, len(self._numbers))
        self._kinds[parameter] = _Kind(number, isinstance(manifold, TrainMember), *key)
        return self._kinds[parameter]

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

    def _forget_stacks(self) -> None:
        self._stacks = {}
        self._kinds = {}
        self._numbers = {}

    def _step_stack(self, stack: ParameterStack, group: dict[str, Any]) -> None:
        """Move the parameters of a stack."""
        points, gradients = stack.points(), stack.gradients()
        leave_out_nonfinite(gradients)
        if group["maximize"]:
            gradients.neg_()
        if group["weight_decay"] and not group.get("decoupled_weight_decay"):
            gradients.add_(points, alpha=group["weight_decay"])
        elif group["weight_decay"] and isinstance(stack.manifold, geoopt.Euclidean):
            points.mul_(1 - group["lr"] * group["weight_decay"])
        elif group["weight_decay"] and isinstance(stack.manifold, EmbeddedTrain):
            stack.manifold.spectrum_of(points).mul_(1 - group["lr"] * group["weight_decay"])
        with without_autocast(points):  # whose products would cost the frames their orthogonality
            stack.write(*self._move(stack.manifold, points, gradients, dict(stack.state), group))

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
        """Return new points and new state of stacked parameters.

        The points and gradients are copies, and the state is the stack's own: all may be overwritten on the way.
        """


@final
class _Kind(NamedTuple):
    """What parameters are stacked by, and the number that stands for it."""

    number: int
    is_member: bool
    manifold: geoopt.Manifold
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep what a step's temporaries leave, up to 62 MiB, in place of giving it back each time.

    Pages fresh from the system cost more than the kernels that fill them. glibc raises its thresholds to the largest
    block under 32 MiB that it has seen freed (``mallopt(3)``); with other libraries this does nothing.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def _without_base(value: Any) -> Any:
    """Return a copy of a tensor that is a view, and all else as it is."""
    return value.clone() if isinstance(value, Tensor) and value._is_view() else value


def leave_out_nonfinite(gradients: Tensor) -> None:
    """Set to zero, in place, each matrix ``(n, p)`` of ``(..., n, p)``, or vector of ``(k, n)``, that is not finite."""
    dims = (-2, -1) if gradients.dim() > 2 else (-1,) if gradients.dim() == 2 else ()
    lengths = torch.linalg.vector_norm(gradients, dim=dims, keepdim=True) if dims else gradients
    gradients.masked_fill_(~lengths.isfinite(), 0)


def _require_finite_gradients(parameters: list[Tensor]) -> None:
    """Refuse gradients that are not finite.

    Raises:
        RuntimeError: there is one.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients and not bool(torch.stack([norm.cpu() for norm in torch._foreach_norm(gradients)]).isfinite().all()):
        shape = next(tuple(g.shape) for g in gradients if not bool(torch.linalg.vector_norm(g).isfinite()))
        raise RuntimeError(
            f"the gradient of a parameter of shape {shape} is not finite, and no parameter has been moved; lower the "
            f"learning rate or clip the gradients, or leave out error_if_nonfinite=True to skip such gradients"
        )


def require_nonnegative(**values: float | Tensor) -> None:
    """Refuse a negative or NaN hyperparameter.

    Raises:
        ValueError: the value is negative or NaN.
    """
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")
