"""What the optimizers whose steps have a given spectral norm share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._matrix_sign import FLOOR, matrix_sign
from ._options import require_rate


def begin_momentum(parameter: Tensor, state: dict[str, Any]) -> None:
    """Fill the state of frames ``(..., n, p)``: an average of gradients."""
    state["exp_avg"] = torch.zeros_like(parameter.detach().as_subclass(Tensor), memory_format=torch.preserve_format)


def polar_factor_between(matrix: Tensor, lower: float | Tensor, upper: float | Tensor) -> Tensor:
    """Return the polar factor of matrices ``(..., n, p)`` whose singular values lie in [lower, upper].

    Bounds that are tensors, as a learning rate may be, are not read: then the matrix sign assumes nothing.
    """
    if isinstance(upper, Tensor) or isinstance(lower, Tensor):
        return matrix_sign(matrix)
    return matrix_sign(matrix, floor=max(lower / upper, FLOOR), bound=upper)


def require_spectral(group: dict[str, Any]) -> None:
    """Refuse a learning rate of 1 or more: it is the spectral norm of a frame's step, an angle in radians.

    Raises:
        ValueError: it is.
    """
    require_rate("lr", group["lr"], below=1.0)
