"""What the problems over one frame share."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...manifolds import Geometry, haar_frame, require_integer, require_number
from ..random_streams import Stream, generator_of_stream
from .problem import KnownProblem
from .variable import FrameVariable, Variable, tells_frames_apart


@dataclass(frozen=True)
class FrameProblem(KnownProblem):
    """A cost over the frames of St(n, p).

    Attributes:
        only_span: whether the cost looks at the span of the frame alone, so that it is one over subspaces.
        n, p: number of rows and columns.
        condition: condition number of the Riemannian Hessian at the optimum, in the Euclidean metric; only roughly
            where the docstring of the problem says so.
        seed: of the data.

    Raises:
        TypeError: a size is no integer, or the condition number no number.
        ValueError: p is larger than n, or the condition number less than 1.
    """

    only_span: ClassVar[bool] = False
    n: int = 40
    p: int = 6
    condition: float = 100.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("p", self.p, least=1)
        require_integer("n", self.n, least=1)
        if self.n < self.p:
            raise ValueError(f"n must be at least p, got n = {self.n} and p = {self.p}; a frame is no wider than tall")
        require_number("condition", self.condition, least=1)

    @property
    def label(self) -> str:
        """The problem in two words, where space is short."""
        return f"{self.kind} {self.n}×{self.p}"

    def start(self, geometry: Geometry, seed: int, dtype: torch.dtype = torch.float64) -> Variable:
        """Return a Haar-distributed frame.

        Raises:
            ValueError: the metric is that of whole weights.
        """
        source = generator_of_stream(seed, Stream.START)
        frame = self.admissible(haar_frame(self.n, self.p, dtype=torch.float64, generator=source))
        return FrameVariable(frame.to(dtype), geometry, self.only_span)

    def admissible(self, frame: Tensor) -> Tensor:
        """Return the frame, or one from which the optimum can be reached."""
        return frame

    def distinguishes(self, geometry: Geometry) -> bool:
        """Return whether the geometry is open to the problem, and no other one in disguise."""
        return tells_frames_apart(geometry, self.only_span)

    @property
    @abc.abstractmethod
    def solution(self) -> Tensor:
        """An optimal frame ``(n, p)``, by scipy in float64."""
