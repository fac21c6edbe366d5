"""What the optimizers whose steps have a given spectral norm share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._frame_moments import require_moments
from ._matrix_sign import FLOOR, matrix_sign


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
    """Refuse hyperparameters out of range.

    Raises:
        ValueError: one is.
    """
    require_moments(group)
    if not isinstance(group["lr"], Tensor) and group["lr"] >= 1:
        raise ValueError(
            f"lr must be below 1, got {group['lr']}: it is the spectral norm of a frame's step, an angle in radians"
        )
