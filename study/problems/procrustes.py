"""Orthogonal Procrustes: the frame nearest to a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import linalg  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from ...manifolds import haar_frame
from ..random_streams import Stream, generator_of_stream
from .frame_problem import FrameProblem


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
