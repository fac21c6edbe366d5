"""The leading eigenspace: the problem of principal components."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import linalg  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from .frame_problem import FrameProblem
from .symmetric_matrix import symmetric_matrix


@final
@dataclass(frozen=True)
class LeadingEigenspace(FrameProblem):
    """Minimize −tr(XᵀAX) over the subspaces of dimension p: the optimum spans the p leading eigenvectors (Fan 1949).

    The eigenvalues of the Hessian on the Grassmann manifold are 2(λ_i − λ_j), i ≤ p < j. A has eigenvalues from 1 to 0,
    equally spaced on either side of a gap after the p-th one, which is 1/condition. Where p = 1 or n = p + 1 the
    condition number is less than asked for. Gaps are relative to the largest minus the least cost.

    Raises:
        ValueError: n = p, where all frames have one span.
    """

    kind: ClassVar[str] = "leading-eigenspace"
    summary: ClassVar[str] = "minimize −tr(XᵀAX) over subspaces; the optimum spans A’s leading eigenvectors"
    only_span: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n == self.p:
            raise ValueError(f"n must be larger than p, got {self.n} for both; all square frames have one span")

    def cost_of(self, value: Tensor) -> Tensor:
        """Return −tr(XᵀAX) of frames ``(..., n, p)``."""
        return -(value * (self._matrix.to(value) @ value)).sum(dim=(-2, -1))

    @cached_property
    def optimum(self) -> float:
        """Minus the sum of the p largest eigenvalues."""
        return -float(linalg.eigvalsh(self._matrix.numpy())[-self.p :].sum())

    @cached_property
    def scale(self) -> float:
        """The sum of the p largest eigenvalues minus that of the p smallest."""
        return -float(linalg.eigvalsh(self._matrix.numpy())[: self.p].sum()) - self.optimum

    @cached_property
    def solution(self) -> Tensor:
        """The leading eigenvectors."""
        return torch.from_numpy(linalg.eigh(self._matrix.numpy())[1][:, -self.p :].copy())

    @cached_property
    def _matrix(self) -> Tensor:
        gap = 1 / self.condition
        leading = np.linspace(1, (1 + gap) / 2, self.p)
        rest = np.linspace(0, (1 - gap) / 2, self.n - self.p)
        return symmetric_matrix(np.concatenate((leading, rest)), self.seed)
