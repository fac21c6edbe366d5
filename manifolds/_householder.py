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
from torch.autograd import forward_ad

from ._matrices import identity_like, inverse_triangular
from ._require import described, require_flag, require_frames, require_integer, require_tensor


def householder_frames(entries: Tensor, reduced: bool = False) -> Tensor:
    """Map reflector entries ``(..., d, r)`` to frames ``(..., d, r)``; any derivative can be taken, in either mode.

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
    require_frames("entries", entries)
    require_flag("reduced", reduced)
    if reduced:
        return reduced_frames(free_entries(entries, reduced=True))
    batch = entries.reshape(entries.shape[:-2].numel(), *entries.shape[-2:])
    frames, _ = _compact(batch) if _in_forward_mode(batch) else _CompactFrames.apply(batch)
    return frames.reshape(entries.shape)


def reduced_frames(block: Tensor) -> Tensor:
    """Return the frames ``(..., d, r)`` of reduced charts, of their free entries B ``(..., d − r, r)``.

    With Y = [I; B] the compact form is Q = [I − S⁻¹; −B S⁻¹], S of I + BᵀB: no product with the identity is made.
    """
    batch = block.reshape(block.shape[:-2].numel(), *block.shape[-2:])
    frames, _ = _reduced(batch) if _in_forward_mode(batch) else _ReducedFrames.apply(batch)
    return frames.reshape(*block.shape[:-2], block.shape[-2] + block.shape[-1], block.shape[-1])


def householder_entries(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Return (entries, signs) with ``householder_frames(entries) * signs[..., None, :]`` equal to the frame.

    The entries are LAPACK's geqrf's, whose choice of sign avoids cancellation (‖y_i‖² ≤ 2). The signs, ±1, are read
    off this module's own Q: where geqrf means H = I (its tau = 0), Q has H = I − 2 e eᵀ. Where the top block of the
    frame is upper triangular, the entries inside the top block are zero: this also serves the reduced chart.

    Args:
        frame: frames of shape ``(..., d, r)``.

    Returns:
        Entries of shape ``(..., d, r)``, zero on and above the diagonal, and signs of shape ``(..., r)``.

    Raises:
        TypeError, ValueError: as :func:`householder_frames`, or the frame is on the meta device.
    """
    require_frames("frame", frame)
    if frame.is_meta:
        raise ValueError(f"frame must have values, got {described(frame)} on the meta device")
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


def entries_of_free(free: Tensor, rows: int, columns: int, reduced: bool = False) -> Tensor:
    """Return entries ``(..., rows, columns)``, zero where not free: the inverse of :func:`free_entries`.

    Raises:
        TypeError: ``free`` is no tensor, a size no integer, or ``reduced`` neither True nor False.
        ValueError: there are not at least as many rows as columns, or the shape is another one.
    """
    require_tensor("free", free)
    require_integer("columns", columns, least=0)
    require_integer("rows", rows, least=columns)
    require_flag("reduced", reduced)
    shape = (rows - columns, columns) if reduced else (rows * columns - columns * (columns + 1) // 2,)
    if free.shape[-len(shape) :] != shape:
        raise ValueError(f"free must have shape (..., {', '.join(map(str, shape))}), got {described(free)}")
    if reduced:
        return torch.cat((free.new_zeros(*free.shape[:-2], columns, columns), free), dim=-2)
    size = columns * (columns - 1) // 2
    row, column = torch.tril_indices(columns, columns, -1, device=free.device)
    zeros = free.new_zeros(*free.shape[:-1], columns * columns)
    top = zeros.index_copy(-1, row * columns + column, free[..., :size])
    below = free[..., size:]
    return torch.cat((top, below), dim=-1).unflatten(-1, (rows, columns))


def _reflectors(entries: Tensor) -> Tensor:
    """Return Y: the entries below the diagonal, under a unit diagonal."""
    reflectors = entries.tril(-1)
    reflectors.diagonal(dim1=-2, dim2=-1).fill_(1)
    return reflectors


def _inverse_triangle(reflectors: Tensor) -> Tensor:
    """Return S⁻¹ for S = strictly-upper(YᵀY) + ½ diag(YᵀY).

    The explicit inverse turns all further solves into products. It costs no accuracy, since S + Sᵀ = YᵀY is positive.
    """
    return _inverse_of_gram(reflectors.mT @ reflectors)


def _inverse_of_gram(gram: Tensor) -> Tensor:
    """Return S⁻¹ of YᵀY."""
    triangle = gram.triu(1) + (gram.diagonal(dim1=-2, dim2=-1) / 2).diag_embed()
    return inverse_triangular(triangle)


def _gram_gradient(triangle_gradient: Tensor) -> Tensor:
    """Return what turns Y into its gradient, of S's gradient: S = strictly-upper(YᵀY) + ½ diag(YᵀY)."""
    upper = triangle_gradient.triu(1)
    return upper + upper.mT + triangle_gradient.diagonal(dim1=-2, dim2=-1).diag_embed()


def _in_forward_mode(tensor: Tensor) -> bool:
    """Return whether a forward-mode derivative is taken, whose levels an ``autograd.Function`` does not tell apart.

    Within a reverse-mode derivative, as in ``torch.func.hessian``, a tensor does not show it: hence the level, which
    torch does not promise to keep.
    """
    return getattr(forward_ad, "_current_level", -1) >= 0 or forward_ad.unpack_dual(tensor).tangent is not None


def _compact(entries: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q = I − Y S⁻¹ Y_topᵀ of entries ``(b, d, r)``, and S⁻¹."""
    reflectors = _reflectors(entries)
    inverse = _inverse_triangle(reflectors)
    coefficients = inverse @ reflectors[:, : entries.shape[-1]].mT
    identity = identity_like(entries, *entries.shape[-2:]).expand_as(entries)
    return torch.baddbmm(identity, reflectors, coefficients, alpha=-1), inverse


def _reduced(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q = [I − S⁻¹; −B S⁻¹] of blocks ``(b, d − r, r)``, and S⁻¹."""
    inverse = _inverse_of_block(block)
    top = identity_like(inverse, *inverse.shape[-2:]) - inverse
    return torch.cat((top, -(block @ inverse)), dim=-2), inverse


class _CompactFrames(torch.autograd.Function):
    """:func:`_compact`, which keeps the entries and the triangle S⁻¹ for its backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(entries: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q and, for the backward, S⁻¹."""
        return _compact(entries)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the backward needs."""
        ctx.save_for_backward(inputs[0], output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        """Return the gradient with respect to the entries, in differentiable operations."""
        entries, inverse = ctx.saved_tensors
        reflectors = _reflectors(entries)
        if torch.is_grad_enabled():  # a second derivative is asked for: the triangle must depend on the entries again
            inverse = _inverse_triangle(reflectors)
        columns = entries.shape[-1]
        # Q = I − Y T, T = S⁻¹ Y_topᵀ, S = triangle(YᵀY), differentiated one after another from Q̄ = gradient. The signs
        # of T̄ = −YᵀQ̄ and of what follows from it are carried to the end.
        coefficients = inverse @ reflectors[:, :columns].mT
        top_gradient = inverse.mT @ (reflectors.mT @ gradient)
        triangle_gradient = top_gradient @ coefficients.mT
        result = torch.baddbmm(reflectors @ _gram_gradient(triangle_gradient), gradient, coefficients.mT, alpha=-1)
        top = (result[:, :columns] - top_gradient.mT).tril(-1)
        result[:, :columns] = top
        return result


class _ReducedFrames(torch.autograd.Function):
    """:func:`_reduced`, which keeps the blocks and S⁻¹ for its backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(block: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q and, for the backward, S⁻¹."""
        return _reduced(block)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the backward needs."""
        ctx.save_for_backward(inputs[0], output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        """Return the gradient with respect to the blocks, in differentiable operations."""
        block, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            inverse = _inverse_of_block(block)
        columns = block.shape[-1]
        top_gradient, block_gradient = gradient[:, :columns], gradient[:, columns:]
        # The gradient of S⁻¹ is the negative of this one, and that of S turns the sign again.
        inverse_gradient = torch.baddbmm(top_gradient, block.mT, block_gradient)
        triangle_gradient = inverse.mT @ inverse_gradient @ inverse.mT
        return torch.baddbmm(block @ _gram_gradient(triangle_gradient), block_gradient, inverse.mT, alpha=-1)


def _inverse_of_block(block: Tensor) -> Tensor:
    """Return S⁻¹ of Y = [I; B]."""
    gram = block.mT @ block
    return _inverse_of_gram(gram + identity_like(gram, *gram.shape[-2:]))
