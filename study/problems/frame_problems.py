"""Problems over one frame: the frame nearest to a matrix, and eigenvectors, one by one and the subspace they span."""

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
    summary = "minimize −tr(CᵀX) over frames X; the optimum is the polar factor of C"

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


@dataclass(frozen=True)
class _EigenvectorProblem(FrameProblem):
    """A cost of a symmetric matrix A, whose eigenvectors are Haar-distributed."""

    @property
    @abc.abstractmethod
    def _eigenvalues(self) -> np.ndarray:
        """All eigenvalues of A, in any order."""

    @cached_property
    def _matrix(self) -> Tensor:
        source = generator_of_stream(self.seed, Stream.DATA)
        vectors = haar_frame(self.n, self.n, dtype=torch.float64, generator=source)
        matrix = (vectors * torch.from_numpy(self._eigenvalues)) @ vectors.mT
        return (matrix + matrix.mT) / 2

    @cached_property
    def _found_eigenvalues(self) -> np.ndarray:
        """The eigenvalues of A by scipy, ascending."""
        return np.asarray(linalg.eigvalsh(self._matrix.numpy()))

    @cached_property
    def _found_eigenvectors(self) -> Tensor:
        return torch.from_numpy(linalg.eigh(self._matrix.numpy())[1])


@final
@dataclass(frozen=True)
class Brockett(_EigenvectorProblem):
    """Minimize tr(XᵀAXN) over St(n, p), N = diag(p, …, 1)/p: eigenvectors of the p smallest eigenvalues, in order.

    (Brockett 1991; Absil, Mahony, Sepulchre 2008, Sec. 4.8.) The eigenvalues of the Hessian at the optimum are
    (λ_j − λ_i)(ν_i − ν_j), i < j ≤ p, and 2(λ_j − λ_i)ν_i, i ≤ p < j. A has eigenvalues from 0 to 1, the smallest
    equally spaced by as much as gives the condition number. Gaps are relative to the largest minus the least cost.

    Raises:
        ValueError: the condition number is less than 2p², or (p − 1)² where n = p, the least there is with equal
            spacing.
    """

    kind: ClassVar[str] = "brockett"
    summary = "minimize tr(XᵀAXN) over frames X; the optimum has A’s eigenvectors as columns"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("condition", self.condition, least=self._least_condition)

    def cost_of(self, value: Tensor) -> Tensor:
        """Return tr(XᵀAXN) of frames ``(..., n, p)``."""
        return (value * (self._matrix.to(value) @ value) * self._weights.to(value)).sum(dim=(-2, -1))

    @cached_property
    def optimum(self) -> float:
        """The p smallest eigenvalues of A times the weights, the smallest with the largest."""
        return float(self._found_eigenvalues[: self.p] @ self._weights.numpy())

    @cached_property
    def scale(self) -> float:
        """The largest cost minus the least."""
        return float(self._found_eigenvalues[::-1][: self.p] @ self._weights.numpy()) - self.optimum

    @property
    def solution(self) -> Tensor:
        """The eigenvectors of the smallest eigenvalues, ascending."""
        return self._found_eigenvectors[:, : self.p]

    @property
    def _least_condition(self) -> float:
        """The condition number at the largest spacing that leaves the order of the eigenvalues as it is."""
        if self.n == self.p:
            return float(max(self.p - 1, 1) ** 2)
        return 2.0 * self.p**2 if self.p > 1 else 1.0

    @cached_property
    def _weights(self) -> Tensor:
        return torch.arange(self.p, 0, -1, dtype=torch.float64) / self.p

    @property
    def _eigenvalues(self) -> np.ndarray:
        spaced = self.p - 1 if self.n == self.p else self.p
        # The largest curvature is 2, or (p − 1)/p where n = p, the smallest spacing/p, or 2 · spacing where p = 1.
        spacing = self._least_condition / (self.condition * max(spaced, 1))
        rest = np.linspace(1, spacing * spaced, self.n - spaced)
        return np.concatenate((spacing * np.arange(spaced), rest))


@final
@dataclass(frozen=True)
class LeadingEigenspace(_EigenvectorProblem):
    """Minimize −tr(XᵀAX) over the subspaces of dimension p: the optimum spans the p leading eigenvectors (Fan 1949).

    This is the problem of principal components. The eigenvalues of the Hessian on the Grassmann manifold are
    2(λ_i − λ_j), i ≤ p < j. A has eigenvalues from 1 to 0, equally spaced on either side of a gap after the p-th one,
    which is 1/condition. Where p = 1 or n = p + 1 the condition number is less than asked for. Gaps are relative to the
    largest minus the least cost.

    Raises:
        ValueError: n = p, where all frames have one span.
    """

    kind: ClassVar[str] = "leading-eigenspace"
    summary = "minimize −tr(XᵀAX) over subspaces; the optimum spans A’s leading eigenvectors"
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
        return -float(self._found_eigenvalues[-self.p :].sum())

    @cached_property
    def scale(self) -> float:
        """The sum of the p largest eigenvalues minus that of the p smallest."""
        return -float(self._found_eigenvalues[: self.p].sum()) - self.optimum

    @property
    def solution(self) -> Tensor:
        """The leading eigenvectors."""
        return self._found_eigenvectors[:, -self.p :]

    @property
    def _eigenvalues(self) -> np.ndarray:
        gap = 1 / self.condition
        leading = np.linspace(1, (1 + gap) / 2, self.p)
        return np.concatenate((leading, np.linspace(0, (1 - gap) / 2, self.n - self.p)))
