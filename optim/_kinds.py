"""Which parameters one call can move together: those of one manifold, shape, dtype and device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, final

import geoopt
import torch
from torch import Tensor

from ..manifolds import TrainMember
from ._parameter_stack import Member


@final
class Kind(NamedTuple):
    """The kind of a manifold parameter, and the number that stands for it."""

    number: int
    is_member: bool
    manifold: Any
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device


@final
class Batch(NamedTuple):
    """Parameters that are moved together.

    Attributes:
        key: tells the batches of one grouping apart, and is the same at the next.
        manifold: that of each member, or the train whose parameters a member holds.
        members: one parameter each, or all parameters of a train under the embedded metric, in their order.
    """

    key: object
    manifold: Any
    members: list[Member]


@final
class Kinds:
    """Sorts parameters by their kind, and remembers the kind of each: comparing two manifolds once is enough."""

    def __init__(self) -> None:
        self._known: dict[Tensor, Kind] = {}
        self._numbers: dict[object, int] = {}

    def of(self, parameter: Tensor) -> Kind | None:
        """Return the kind of a manifold parameter, None for a plain one."""
        manifold = getattr(parameter, "manifold", None)
        known = self._known.get(parameter)
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
        self._known[parameter] = Kind(number, isinstance(manifold, TrainMember), *key)
        return self._known[parameter]

    def sort(
        self, parameters: Iterable[Tensor], stage: Callable[[Tensor], object] | None = None
    ) -> tuple[list[Tensor], list[Batch]]:
        """Return the plain parameters, and the others in batches of one kind and one ``stage``.

        Raises:
            ValueError: parameters of a weight under the embedded metric are missing.
        """
        plain: list[Tensor] = []
        batches: dict[object, Batch] = {}
        trains: dict[int, list[Any]] = {}
        for parameter in parameters:
            kind = self.of(parameter)
            if kind is None:
                plain.append(parameter)
            elif kind.is_member:
                trains.setdefault(id(kind.manifold.whole), []).append(parameter)
            else:
                key = (kind.number, stage and stage(parameter))
                batch = batches.get(key)
                if batch is None:
                    batch = batches[key] = Batch(key, kind.manifold, [])
                batch.members.append((parameter,))
        for members in trains.values():
            whole = members[0].manifold.whole
            members.sort(key=lambda parameter: parameter.manifold.position)
            if len(members) != len(whole.shapes):
                raise ValueError(
                    f"metric='embedded' takes the {len(whole.shapes)} parameters of a weight together, got "
                    f"{len(members)} of them; give all, with their gradients and in one parameter group, or use "
                    f"metric='euclidean'"
                )
            first = members[0]
            train_key = (whole.train, first.dtype, first.device, stage and stage(first))
            batches.setdefault(train_key, Batch(train_key, whole, [])).members.append(tuple(members))
        return plain, list(batches.values())
