"""Brockett's cost: eigenvectors, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
import torch
from scipy import linalg  # type: ignore[import-untyped]  # scipy carries no types
from torch import Tensor

from .frame_problem import FrameProblem
from .problem import require_condition
from .symmetric_matrix import symmetric_matrix


@final
@dataclass(frozen=True)
class Brockett(FrameProblem):
    """Minimize tr(XᵀAXN) over St(n, p), N = diag(p, …, 1)/p: eigenvectors of the p smallest eigenvalues, in order.

    (Brockett 1991; Absil, Mahony, Sepulchre 2008, Sec. 4.8.) The eigenvalues of the Hessian at the optimum are
    (λ_j − λ_i)(ν_i − ν_j), i < j ≤ p, and 2(λ_j − λ_i)ν_i, i ≤ p < j. A has eigenvalues from 0 to 1, the smallest
    equally spaced by as much as gives the condition number. Gaps are relative to the largest minus the least cost.

    Raises:
        ValueError: the condition number is less than 2p², or (p − 1)² where n = p, the least there is with equal
            spacing.
    """

    kind: ClassVar[str] = "brockett"
    summary: ClassVar[str] = "minimize tr(XᵀAXN) over frames X; the optimum has A’s eigenvectors as columns"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_condition(self.condition, self._least_condition)

    def cost_of(self, value: Tensor) -> Tensor:
        """Return tr(XᵀAXN) of frames ``(..., n, p)``."""
        return (value * (self._matrix.to(value) @ value) * self._weights.to(value)).sum(dim=(-2, -1))

    @cached_property
    def optimum(self) -> float:
        """The p smallest eigenvalues of A times the weights, the smallest with the largest."""
        return float(linalg.eigvalsh(self._matrix.numpy())[: self.p] @ self._weights.numpy())

    @cached_property
    def scale(self) -> float:
        """The largest cost minus the least."""
        largest = linalg.eigvalsh(self._matrix.numpy())[::-1][: self.p] @ self._weights.numpy()
        return float(largest) - self.optimum

    @cached_property
    def solution(self) -> Tensor:
        """The eigenvectors of the smallest eigenvalues, ascending."""
        return torch.from_numpy(linalg.eigh(self._matrix.numpy())[1][:, : self.p].copy())

    @property
    def _least_condition(self) -> float:
        """The condition number at the largest spacing that leaves the order of the eigenvalues as it is."""
        if self.n == self.p:
            return float(max(self.p - 1, 1) ** 2)
        return 2.0 * self.p**2 if self.p > 1 else 1.0

    @cached_property
    def _weights(self) -> Tensor:
        return torch.arange(self.p, 0, -1, dtype=torch.float64) / self.p

    @cached_property
    def _matrix(self) -> Tensor:
        square = self.n == self.p
        spaced = self.p - 1 if square else self.p
        # The largest curvature is 2, or (p − 1)/p where n = p, the smallest spacing/p, or 2 · spacing where p = 1.
        spacing = self._least_condition / (self.condition * max(spaced, 1))
        smallest = spacing * np.arange(spaced)
        rest = np.linspace(1, spacing * spaced, self.n - spaced)
        return symmetric_matrix(np.concatenate((smallest, rest)), self.seed)
