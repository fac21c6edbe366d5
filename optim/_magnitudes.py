"""Numbers kept where their squares, sums and products are finite, without a look at any of them on a GPU.

An optimizer cuts gradients down once, before it computes with them, so that nothing after that needs a guard:

* No entry exceeds M^(3/8) of the largest number M, 2.8e14 in float32: squares, and the sums of squares that second
  moments, inner products and momentum are made of, stay below M. A gradient that long is a divergence.
* On frames, where steps are proportional to the gradient, lr times an entry does not exceed u^(−1/2) of the unit
  roundoff u, 2.9e3 in float32, the longest step that retractions take. What rounding leaves of the gradient's normal
  part, u·lr·‖G‖, then stays a small part of the frame, and a step does not lose rank.
"""

from __future__ import annotations

import torch
from torch import Tensor


def largest_entry(dtype: torch.dtype) -> float:
    """Return the largest entry of a gradient that optimizers compute with."""
    return float(torch.finfo(dtype).max ** 0.375)


def can_look(tensor: Tensor) -> bool:
    """Return whether values can be asked for without waiting for a device, and outside of what torch compiles."""
    return tensor.is_cpu and not torch.compiler.is_compiling()


def limit_(tensor: Tensor, most: float | Tensor) -> None:
    """Scale, in place, each matrix ``(n, p)`` of ``(..., n, p)``, or vector of ``(k, n)``, to entries up to ``most``.

    One with an entry that is not finite is set to zero.
    """
    dims = (-2, -1) if tensor.dim() > 2 else (-1,) if tensor.dim() == 2 else ()
    # Two reductions cost a CPU half of what the absolute values and one do, and a norm in place of them overflows.
    if dims:
        largest = torch.maximum(tensor.amax(dims, keepdim=True), tensor.amin(dims, keepdim=True).neg_())
    else:
        largest = tensor.abs()
    if can_look(tensor) and bool(largest.max() <= most):  # which nearly always spares two passes over the entries
        return
    # 0 where the largest is infinite and NaN where it is NaN: either way its entries become NaN, or zero.
    factor = largest.reciprocal_().mul_(most).clamp_(max=1.0)
    tensor.mul_(factor).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def shortened(steps: Tensor, longest: float) -> Tensor:
    """Return steps ``(..., n, p)``, those longer than ``longest`` in the Frobenius norm cut down to it."""
    length = torch.linalg.vector_norm(steps, dim=(-2, -1), keepdim=True)
    return steps * length.reciprocal_().mul_(longest).clamp_(max=1.0)
