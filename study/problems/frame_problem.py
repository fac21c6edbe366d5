"""Problems over one frame, and the plainest of them, orthogonal Procrustes: the frame nearest to a matrix."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import linalg  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from ...manifolds import Geometry, haar_frame, require_integer, require_number
from ..random_streams import Stream, generator_of_stream
from .instance import FrameVariable, Variable, tells_frames_apart
from .problem import KnownProblem


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


@final
@dataclass(frozen=True)
class Procrustes(FrameProblem):
    """Minimize −tr(CᵀX) over St(n, p): the optimum is the polar factor of C (Schönemann 1966).

    The singular values of C fall geometrically from 1 to 1/condition. Where n > p > 1 this is the condition number of
    the Hessian, whose eigenvalues are σ_i and (σ_i + σ_j)/2. Where n = p, O(n) has two components, and the cost a local
    minimum on the wrong one: starts lie in the optimum's. Gaps are relative to Σσ_i.
    """

    kind: ClassVar[str] = "procrustes"
    summary: ClassVar[str] = "minimize −tr(CᵀX) over frames X; the optimum is the polar factor of C"

    def cost_of(self, value: Tensor) -> Tensor:
        """Return −tr(CᵀX) of frames ``(..., n, p)``."""
        return -(self._target.to(value) * value).sum(dim=(-2, -1))

    def admissible(self, frame: Tensor) -> Tensor:
        """Return the frame, reflected into the component of the optimum where the frame is square."""
        if self.n == self.p and torch.det(frame) * torch.det(self.solution) < 0:
            frame = torch.cat((-frame[:, :1], frame[:, 1:]), dim=-1)
        return frame

    @cached_property
    def optimum(self) -> float:
        """Minus the sum of the singular values of C."""
        return -float(linalg.svdvals(self._target.numpy()).sum())

    @property
    def scale(self) -> float:
        """The sum of the singular values of C."""
        return -self.optimum

    @cached_property
    def solution(self) -> Tensor:
        """The polar factor of C."""
        return torch.from_numpy(linalg.polar(self._target.numpy())[0])

    @cached_property
    def _target(self) -> Tensor:
        source = generator_of_stream(self.seed, Stream.DATA)
        left = haar_frame(self.n, self.p, dtype=torch.float64, generator=source)
        right = haar_frame(self.p, self.p, dtype=torch.float64, generator=source)
        return (left * torch.from_numpy(np.geomspace(1, 1 / self.condition, self.p))) @ right.mT
