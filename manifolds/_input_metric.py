"""The norm in which a weight's error is that of its outputs: ‖AC^{1/2}‖_F, C the second moment of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from ._matrices import identity_like
from ._require import require_flag, require_tensor

# What is added to C, relative to the mean of its diagonal: directions that no input had count a little as well.
DAMPING: Final = 1e-4
# The same where C counts how often a row is picked: most words of a vocabulary are not among some thousand, and some
# of them will be. Measured on a vocabulary at a quarter of its size; 0.03 and 3 are nearly as good, 1e-4 less so.
DAMPING_OF_COUNTS: Final = 0.3


@final
@dataclass(frozen=True)
class InputMetric:
    """A damped second moment C = LLᵀ of what a matrix is multiplied with.

    Attributes:
        moment: C ``(n, n)``, or its diagonal ``(n,)`` where it has no other entries, in float64.
        root: L, or its diagonal.
        of_rows: whether it belongs to the rows of the matrix, as with an embedding, which picks some of them.
    """

    moment: Tensor
    root: Tensor
    of_rows: bool = False

    @staticmethod
    def damped(moment: Tensor, of_rows: bool = False) -> InputMetric:
        """Return the metric of a second moment, of any rank, to which a part of the mean of its diagonal is added.

        The part is 1e-4, and 0.3 of a diagonal one of rows, which counts how often each was picked.

        Args:
            moment: symmetric and positive semidefinite ``(n, n)``, or a non-negative diagonal ``(n,)``.
            of_rows: see above.

        Raises:
            TypeError: the moment is no tensor.
            ValueError: it has another shape, or entries that are not finite, or is not positive semidefinite.
        """
        require_tensor("moment", moment)
        require_flag("of_rows", of_rows)
        if moment.dim() not in (1, 2) or moment.shape[0] != moment.shape[-1]:
            raise ValueError(f"moment must have shape (n, n) or (n,), got {tuple(moment.shape)}; reshape it")
        if moment.is_meta:
            raise ValueError("moment must have values, and lies on the meta device; compute it")
        if not moment.isfinite().all():
            raise ValueError("moment has entries that are NaN or infinite; look at the inputs that it is made of")
        moment = moment.to(torch.float64)
        diagonal = moment if moment.dim() == 1 else moment.diagonal()
        mean = diagonal.mean()
        damping = DAMPING_OF_COUNTS if of_rows and moment.dim() == 1 else DAMPING
        added = torch.where(mean > 0, damping * mean, 1.0)  # without inputs all directions count alike
        if moment.dim() == 1:
            damped = moment + added
            root, has_failed = damped.clamp(min=0).sqrt(), (damped <= 0).any()
        else:
            damped = moment + added * identity_like(moment, *moment.shape)
            root, failed_at = torch.linalg.cholesky_ex(damped)
            has_failed = failed_at > 0
        if has_failed:
            raise ValueError("moment must be positive semidefinite, and is not; give a sum of products x xᵀ")
        return InputMetric(damped, root, of_rows)

    def times(self, matrix: Tensor) -> Tensor:
        """Return AC, for a metric of columns."""
        return matrix * self.moment if self.moment.dim() == 1 else matrix @ self.moment

    def whitened(self, matrix: Tensor) -> Tensor:
        """Return AL, or LᵀA for a metric of rows."""
        if self.root.dim() == 1:
            return self.root.unsqueeze(-1) * matrix if self.of_rows else matrix * self.root
        return self.root.mT @ matrix if self.of_rows else matrix @ self.root

    def norm(self, matrix: Tensor) -> Tensor:
        """Return ‖AL‖_F, or ‖LᵀA‖_F for a metric of rows."""
        return torch.linalg.matrix_norm(self.whitened(matrix))

    def padded(self, size: int) -> InputMetric:
        """Return the metric of a matrix that has more columns, or rows, which do not count."""
        added = (0, size - len(self.moment)) * self.moment.dim()
        return InputMetric(pad(self.moment, added), pad(self.root, added), self.of_rows)

    def permuted(self, order: Tensor, of_rows: bool) -> InputMetric:
        """Return the metric with its entries in another order, of rows or of columns."""
        if self.moment.dim() == 1:
            return InputMetric(self.moment[order], self.root[order], of_rows)
        return InputMetric(self.moment[order][:, order], self.root[order], of_rows)
