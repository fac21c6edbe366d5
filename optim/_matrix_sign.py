"""The matrix sign of a rectangular matrix, its polar factor, by products alone."""

from __future__ import annotations

import functools
import math
from typing import Final

import torch
from torch import Tensor

from ..manifolds import described, require_number, require_tensor

# Ratio of singular values that the iteration is made for, unless the caller knows better.
FLOOR: Final = 1e-3
# Distance of the last iterate's singular values from 1, before rounding.
_TOLERANCE: Final = 1e-8
# Largest scaling of a step: see matrix_sign. Chosen among 1.1, 1.2, …, 2 for accuracy, then for the number of steps.
_MOST: Final = 1.4


def matrix_sign(matrix: Tensor, floor: float = FLOOR, bound: float | None = None) -> Tensor:
    """Return UVᵀ of A = UΣVᵀ, for ``(..., n, p)`` with n ≥ p.

    Cubic iteration X ← αX(3I − α²XᵀX)/2 from A/bound, with α = √(3/(1 + ℓ + ℓ²)), which of all cubics takes the
    singular values in [ℓ, 1] to the narrowest interval [ℓ', 1], ℓ' = αℓ(3 − α²ℓ²)/2 (Chen and Chow 2014, Sec. 3), but
    at most 1.4: the best α takes 1 near 0 while ℓ is small, and the leading singular vectors lose their digits, 4e-5 in
    float32 where this leaves 8e-7. How many steps there are follows from ``floor`` and p: nothing is read back from
    the device. At the default floor there are 14 at p = 64, of two products of n × p with p × p each; for a floor of
    0.9, with its bound, there are 4.

    Singular values above ``floor`` times the norm come out as 1 to 1e-8 and rounding: ‖QᵀQ − I‖₂ < 1e-6 in float32.
    The error of Q itself is the problem's own, u‖A‖/σ_min with the unit roundoff u: in float32 below 1e-6 down to
    σ_min = ‖A‖/10 (256 × 64; 1.3e-6 at 1024 × 256), 3e-5 at ‖A‖/1000. Smaller singular values come out between 0 and
    1, and zero as zero: the sign of 0 is 0.

    Args:
        matrix: A.
        floor: lower bound of σ_min/‖A‖₂, in (0, 1].
        bound: upper bound of ‖A‖₂; by default the Schatten norm (Σσ⁸)^⅛, at most p^⅛ times ‖A‖₂.

    Raises:
        TypeError: the matrix is no tensor of real numbers, or a bound no number.
        ValueError: it has less than two dimensions or more columns than rows; the floor is not in (0, 1], or the bound
            not positive.
    """
    require_tensor("matrix", matrix)
    if not matrix.is_floating_point():
        raise TypeError(f"matrix must have real numbers, got {described(matrix)}; convert it with .to(torch.float32)")
    if matrix.dim() < 2 or matrix.shape[-2] < matrix.shape[-1] or not matrix.shape[-1]:
        raise ValueError(f"matrix must have shape (..., n, p) with n ≥ p ≥ 1, got {described(matrix)}; transpose it")
    require_number("floor", floor, above=0.0, most=1.0)
    if bound is not None:
        require_number("bound", bound, above=0.0)
    if bound is None:
        matrix = unit_scaled(matrix)  # or the eighth powers overflow, or vanish, in float32
        gram = matrix.mT @ matrix
        # At least 1, since an entry is, but for a matrix of zeros.
        matrix = matrix / torch.linalg.matrix_norm(gram @ gram, keepdim=True).clamp(min=1.0).pow(0.25)
        floor = floor / matrix.shape[-1] ** 0.125
    else:
        matrix = matrix / bound
    for linear, cubic in coefficients(floor):
        matrix = linear * matrix - cubic * (matrix @ (matrix.mT @ matrix))
    return matrix


def unit_scaled(matrix: Tensor) -> Tensor:
    """Return matrices ``(..., n, p)`` divided by their largest entry, however small that is; zeros stay."""
    largest = matrix.abs().amax(dim=(-2, -1), keepdim=True)
    return matrix / largest.masked_fill_(largest == 0, 1.0)


@functools.lru_cache(maxsize=64)
def coefficients(floor: float) -> tuple[tuple[float, float], ...]:
    """Return (a, b) of the steps X ← aX − bXXᵀX that take singular values in [floor, 1] to 1 within 1e-8."""
    steps = []
    while 1 - floor > _TOLERANCE:
        scale = min(math.sqrt(3 / (1 + floor + floor * floor)), _MOST)
        steps.append((1.5 * scale, 0.5 * scale**3))
        floor = scale * floor * (3 - (scale * floor) ** 2) / 2
    # A step without scaling is harmless where all is done, and takes out the rounding of those before.
    return (*steps, (1.5, 0.5))
