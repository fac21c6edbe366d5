"""The Householder chart: frames as products of reflections, in the compact form.

Y ∈ R^{d×r} has ones on the diagonal, zeros above and free entries below; its columns y_i give the reflections
H_i = I − 2 y_i y_iᵀ/‖y_i‖², and Q = H_1 ⋯ H_r I_{d×r} is a frame (Obukhov et al. 2021, Sec. 3.1). Instead of one
reflection after another, with S = strictly-upper(YᵀY) + ½ diag(YᵀY) and Y_top the first r rows of Y,

    Q = I_{d×r} − Y S⁻¹ Y_topᵀ

takes matrix products alone and a triangular solve of size r (Puglisi 1992; Joffrain et al. 2006).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .matrices import identity_like


def householder_frames(entries: Tensor, reduced: bool = False) -> Tensor:
    """Map reflector entries ``(..., d, r)`` to frames ``(..., d, r)``; differentiable any number of times.

    Only the entries below the diagonal are read, and of these only the ones below the top r × r block when
    ``reduced``: then the top block of Q is upper triangular, with one frame for each subspace. Items of unequal
    sizes can be padded to one: zero rows below and zero columns at the right leave the top left part as it is.
    All-zero entries give −I_{d×r}.

    Args:
        entries: reflector entries in LAPACK's layout, d ≥ r, float32 or float64.
        reduced: leave out the entries inside the top block.

    Raises:
        ValueError: the entries are wider than tall or no matrices.
        TypeError: the entries have a precision below float32.
    """
    if entries.dim() < 2 or entries.shape[-2] < entries.shape[-1]:
        raise ValueError(f"entries must have shape (..., d, r) with d >= r, got {tuple(entries.shape)}; transpose them")
    require_precision(entries.dtype, "entries")
    width = entries.shape[-1]
    if reduced:
        top = entries.new_zeros(*entries.shape[:-2], width, width)
        entries = torch.cat((top, entries[..., width:, :]), dim=-2)
    reflectors = entries.tril(-1) + identity_like(entries, *entries.shape[-2:])
    return frames_of_reflectors(reflectors)


def frames_of_reflectors(reflectors: Tensor) -> Tensor:
    """Return the frames of unit lower trapezoidal Y of shape ``(..., d, r)``, whose form is taken for granted."""
    return _CompactFrames.apply(reflectors)[0]


def householder_entries(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Return (entries, signs) with ``householder_frames(entries) * signs[..., None, :]`` equal to the frame.

    The entries are LAPACK's geqrf's, whose choice of sign avoids cancellation (‖y_i‖² ≤ 2). The signs, ±1, are read
    off this module's own Q: where geqrf means H = I (its tau = 0), Q has H = I − 2 e eᵀ. Where the top block of the
    frame is upper triangular, the entries inside the top block are zero: this also serves the reduced chart.

    Args:
        frame: frames of shape ``(..., d, r)``.

    Returns:
        Entries of shape ``(..., d, r)``, zero on and above the diagonal, and signs of shape ``(..., r)``.
    """
    entries = torch.geqrf(frame)[0].tril(-1)
    agreement = (householder_frames(entries) * frame).sum(dim=-2)
    return entries, torch.where(agreement < 0, -torch.ones_like(agreement), torch.ones_like(agreement))


def free_entries(entries: Tensor, reduced: bool = False) -> Tensor:
    """Return the free ones of the reflector entries, which is what a parameter stores.

    Full: a vector ``(..., dr − r(r+1)/2)``, the strict lower triangle of the top block row by row, then the rows
    below. Reduced: the rows below, ``(..., d − r, r)``.
    """
    width = entries.shape[-1]
    below = entries[..., width:, :]
    if reduced:
        return below.contiguous()
    row, column = torch.tril_indices(width, width, -1, device=entries.device)
    return torch.cat((entries[..., row, column], below.flatten(-2)), dim=-1)


def reflectors_of_free_entries(free: Tensor, rows: int, columns: int, reduced: bool = False) -> Tensor:
    """Return Y of shape ``(..., rows, columns)`` with unit diagonal from its free entries: see :func:`free_entries`."""
    identity = identity_like(free, columns, columns)
    if reduced:
        return torch.cat((identity.expand(*free.shape[:-2], columns, columns), free), dim=-2)
    batch = free.shape[:-1]
    size = columns * (columns - 1) // 2
    row, column = torch.tril_indices(columns, columns, -1, device=free.device)
    top = identity.flatten().expand(*batch, columns * columns).index_copy(-1, row * columns + column, free[..., :size])
    below = free[..., size:].unflatten(-1, (rows - columns, columns))
    return torch.cat((top.unflatten(-1, (columns, columns)), below), dim=-2)


def require_precision(dtype: torch.dtype, name: str) -> None:
    """Refuse a precision in which orthogonality would be lost.

    Raises:
        TypeError: the dtype is not float32 or float64.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{name} must be float32 or float64, got {dtype}; frames keep their own precision under "
            f"torch.autocast, which casts the products alone"
        )


def _triangle(reflectors: Tensor) -> Tensor:
    """Return S = strictly-upper(YᵀY) + ½ diag(YᵀY)."""
    gram = reflectors.mT @ reflectors
    return gram.triu(1) + (gram.diagonal(dim1=-2, dim2=-1) / 2).diag_embed()


class _CompactFrames(torch.autograd.Function):
    """Q = I − Y S⁻¹ Y_topᵀ with its own backward, which keeps Y and the triangle S and nothing else of Y's size."""

    generate_vmap_rule = True

    @staticmethod
    def forward(reflectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q and, for the backward, S."""
        rows, columns = reflectors.shape[-2:]
        triangle = _triangle(reflectors)
        coefficients = torch.linalg.solve_triangular(triangle, reflectors[..., :columns, :].mT, upper=True)
        return identity_like(reflectors, rows, columns) - reflectors @ coefficients, triangle

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the backward needs."""
        ctx.save_for_backward(inputs[0], output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        """Return the gradient with respect to Y, written in differentiable operations."""
        reflectors, triangle = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is asked for: the triangle must depend on Y again
            triangle = _triangle(reflectors)
        columns = reflectors.shape[-1]
        top = reflectors[..., :columns, :]
        coefficients = torch.linalg.solve_triangular(triangle, top.mT, upper=True)
        # T = S⁻¹ Y_topᵀ and Q = I − Y T, differentiated factor by factor from Q̄ = gradient.
        coefficients_gradient = -reflectors.mT @ gradient
        top_gradient = torch.linalg.solve_triangular(triangle.mT, coefficients_gradient, upper=False)
        triangle_gradient = -top_gradient @ coefficients.mT
        gram_gradient = triangle_gradient.triu(1)
        gram_gradient = gram_gradient + gram_gradient.mT
        gram_gradient = gram_gradient + triangle_gradient.diagonal(dim1=-2, dim2=-1).diag_embed()
        result = reflectors @ gram_gradient - gradient @ coefficients.mT
        return torch.cat((result[..., :columns, :] + top_gradient.mT, result[..., columns:, :]), dim=-2)
