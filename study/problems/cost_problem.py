"""A problem of one's own: a cost and a manifold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, final

import geoopt
import torch
from torch import Tensor

from ...manifolds import Geometry, described, haar_frame, require_instance, require_number, require_shape
from .._plain import Plain
from ..random_streams import Stream, generator_of_stream
from .instance import CostInstance, FrameVariable, Instance, PointVariable, Variable, tells_frames_apart
from .problem import PROBLEMS, Problem


@final
class CostProblem(Problem):
    """A cost over frames, or over the points of any manifold::

        nearest = CostProblem("nearest", lambda x: (x - target).square().sum(), manifold=geoopt.Sphere(), shape=(20,))
        compare(problems=[nearest], optimizers=["riemannian-adam", "riemannian-sgd"])

    Results are known by the name: a problem with another cost wants another name, or another folder.

    Args:
        name: a word or some.
        cost: called with a point, a tensor of float64; returns a scalar.
        shape: of the point; ``(n, p)`` of a frame with orthonormal columns where no manifold is given.
        manifold: of the points; without one a study's geometry, metric and retraction store and move the frame.
        start: called with a seed, returns the point where a run starts; by default a random one.
        optimum: the least cost, or a lower bound; without one the cost must not be negative, and takes the gap's place.
        scale: what gaps are divided by.
        only_span: whether the cost looks at the span of a frame alone, so that it is one over subspaces.
        summary: the cost in a line.

    Raises:
        TypeError: a value is not of its kind.
        ValueError: there is neither a shape nor a start, or the shape is none of a frame where it must be.
    """

    kind: ClassVar[str] = "cost"

    def __init__(
        self,
        name: str,
        cost: Callable[[Tensor], Tensor],
        shape: Sequence[int] | None = None,
        *,
        manifold: geoopt.Manifold | None = None,
        start: Callable[[int], Tensor] | None = None,
        optimum: float | None = None,
        scale: float = 1.0,
        only_span: bool = False,
        summary: str = "minimize a cost of one's own",
    ) -> None:
        require_instance("name", name, str, "a word")
        if not callable(cost):
            raise TypeError(f"cost must be a function of a tensor, got {described(cost)}")
        if manifold is not None:
            require_instance("manifold", manifold, geoopt.Manifold, "a geoopt.Manifold")
        if shape is None and start is None:
            raise ValueError("shape must be given where there is no start, such as shape=(20, 3)")
        if shape is not None:
            shape = require_shape("shape", shape)
            if manifold is None and (len(shape) != 2 or shape[0] < shape[1]):
                raise ValueError(f"shape must be (n, p) with n >= p of a frame, got {shape}; or give a manifold")
        if optimum is not None:
            require_number("optimum", optimum)
        require_number("scale", scale, above=0)
        self._name, self._cost, self._shape, self._manifold, self._start = name, cost, shape, manifold, start
        self._optimum, self._scale, self._only_span, self.summary = optimum, scale, only_span, summary
        self.is_known, self.has_geometry = optimum is not None, manifold is None

    @property
    def name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def label(self) -> str:
        """The name that was given."""
        return self._name

    def begin(self, geometry: Geometry, seed: int) -> Instance:
        """Return the problem at a start."""
        return CostInstance(self._variable(geometry, seed), self._cost, self._optimum, self._scale)

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise."""
        return tells_frames_apart(geometry, self._only_span)

    def to_dict(self) -> dict[str, Plain]:
        """Return the name that ``PROBLEMS`` has for it, under which it is registered if it is not."""
        return {"kind": PROBLEMS.name_for(self)}

    def _variable(self, geometry: Geometry, seed: int) -> Variable:
        point = None if self._start is None else self._start(seed)
        if self._manifold is not None:
            start: Tensor | Sequence[int] = self._shape or () if point is None else point
            return PointVariable(self._manifold, start)
        if point is None:
            assert self._shape is not None
            source = generator_of_stream(seed, Stream.START)
            point = haar_frame(*self._shape, dtype=torch.float64, generator=source)
        return FrameVariable(point, geometry, self._only_span)
