"""Parameters of one kind in one batch, with their state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from ..manifolds import EmbeddedTrain

Member = tuple[Tensor, ...]
State = dict[str, Any]


@final
class ParameterStack:
    """Parameters that one kernel moves together, and their state, which lies in one tensor for each name.

    What a parameter's own state holds is a view of that tensor, so that a step need neither gather nor scatter it.

    Args:
        manifold: the manifold of each member.
        members: one parameter each, or all parameters of a train whose metric belongs to them together.
        states: the state of each parameter, one member's after another's; its tensors become views.

    Attributes:
        state: tensors of shape ``(members, ...)`` by name.
    """

    def __init__(self, manifold: Any, members: Sequence[Member], states: Sequence[State]) -> None:
        self.manifold = manifold
        self.members = members
        self.state: dict[str, Tensor] = {}
        self._width = len(members[0])
        self._parameters = [parameter for member in members for parameter in member]
        self._states = states
        self._views: list[State] = [{} for _ in states]
        for name in states[0]:
            tensors = [state[name] for state in states]
            width = self._width
            parts = [tuple(tensors[start : start + width]) for start in range(0, len(tensors), width)]
            self._adopt(name, self._gathered(parts))

    def holds(self, members: Sequence[Member], states: Sequence[State]) -> bool:
        """Return whether the stack is of these members, and their state is still what the stack has made it."""
        parameters = [parameter for member in members for parameter in member]
        return (
            len(parameters) == len(self._parameters)
            and all(one is other for one, other in zip(parameters, self._parameters, strict=True))
            and all(one is other for one, other in zip(states, self._states, strict=True))
            and all(
                state.keys() == views.keys() and all(state[name] is view for name, view in views.items())
                for state, views in zip(states, self._views, strict=True)
            )
        )

    def points(self) -> Tensor:
        """Return a stacked copy of the parameters."""
        return self._gathered(self.members)

    def gradients(self) -> Tensor:
        """Return a stacked copy of their gradients."""
        return self._gathered([tuple(parameter.grad for parameter in member) for member in self.members])  # type: ignore[misc]

    def write(self, points: Tensor, state: dict[str, Tensor]) -> None:
        """Write new points to the parameters, and keep their new state."""
        torch._foreach_copy_(self._parameters, self._scattered(points))
        for name, values in state.items():
            if name not in self.state:
                self._adopt(name, values.clone())
            elif values is not self.state[name]:
                self.state[name].copy_(values)

    def _adopt(self, name: str, stacked: Tensor) -> None:
        self.state[name] = stacked
        for state, views, view in zip(self._states, self._views, self._scattered(stacked), strict=True):
            # A train of one entry has its scalars as its vectors.
            views[name] = state[name] = view.view_as(state[name]) if name in state else view

    def _gathered(self, members: Sequence[Member]) -> Tensor:
        """Return one tensor for all members: theirs, or the vector of a train's, or what all tensors of one share."""
        manifold = self.manifold
        if not isinstance(manifold, EmbeddedTrain):
            return torch.stack([tensor for (tensor,) in members])
        if [tuple(tensor.shape) for tensor in members[0]] == manifold.shapes:
            return torch.stack([manifold.pack(member) for member in members])
        return torch.stack([member[0] for member in members])

    def _scattered(self, stacked: Tensor) -> list[Tensor]:
        """Return views, one for each parameter, one member's after another's: undo :meth:`_gathered`."""
        manifold = self.manifold
        if not isinstance(manifold, EmbeddedTrain):
            return list(stacked.unbind())
        if stacked.dim() == 2 and stacked.shape[-1] == manifold.dimension:
            columns = [tensor.unbind() for tensor in manifold.unpack(stacked)]
            return [tensor for member in zip(*columns, strict=True) for tensor in member]
        return [tensor for tensor in stacked.unbind() for _ in range(self._width)]
