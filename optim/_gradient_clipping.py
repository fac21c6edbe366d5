"""The norm of all gradients together in the Riemannian metrics, and its bound."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..manifolds import TrainMember, require_flag, require_instance, require_number, without_autocast
from ._kinds import Kinds


@torch.no_grad()
def gradient_norm(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """Return √Σ⟨grad, grad⟩ over all parameters with a gradient, a scalar on the first one's device.

    For a manifold parameter grad is the Riemannian gradient, and the inner product that of its metric; for a plain one
    both are Euclidean. Where no parameter has a gradient it is 0.

    Raises:
        TypeError: a parameter has metric='embedded', which has no norm of one parameter's.
    """
    parameters = _listed(parameters)
    squares: list[Tensor] = []
    present = [parameter for parameter in parameters if parameter.grad is not None]
    if any(isinstance(getattr(parameter, "manifold", None), TrainMember) for parameter in present):
        raise TypeError(
            "gradient_norm takes parameters with a metric of their own, got one with metric='embedded'; clip "
            "those with torch.nn.utils.clip_grad_norm_"
        )
    plain, batches = Kinds().sort(present)
    for parameter in plain:
        assert parameter.grad is not None
        # At least float32: the square of a float16 norm overflows from 256 on.
        precision = torch.promote_types(parameter.grad.dtype, torch.float32)
        squares.append(torch.linalg.vector_norm(parameter.grad, dtype=precision).square())
    for batch in batches:
        members = [parameter for (parameter,) in batch.members]
        points = torch.stack(members)
        euclidean = torch.stack([p.grad for p in members if p.grad is not None])
        with without_autocast(points):
            gradients = batch.manifold.egrad2rgrad(points, euclidean)
            squares.append(batch.manifold.component_inner(points, gradients).sum())
    if not squares:
        return torch.zeros(())
    return torch.stack([square.to(squares[0].device) for square in squares]).sum().sqrt()


@torch.no_grad()
def clip_gradient_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients in place so that :func:`gradient_norm` is at most ``max_norm``; return what it was.

    As ``torch.nn.utils.clip_grad_norm_``, in the Riemannian metrics: the normal part of a Euclidean gradient, which
    moves no frame, does not count. Nothing is read back from the device unless ``error_if_nonfinite``.

    Args:
        parameters: manifold and plain parameters together.
        max_norm: the bound, positive.
        error_if_nonfinite: raise where the norm is not finite.

    Raises:
        ValueError: the bound is not positive.
        RuntimeError: the norm is not finite, and that is asked for.
        TypeError: see :func:`gradient_norm`.
    """
    require_number("max_norm", max_norm, above=0)
    require_flag("error_if_nonfinite", error_if_nonfinite)
    parameters = _listed(parameters)
    members = [parameter for parameter in parameters if parameter.grad is not None]
    norm = gradient_norm(members)
    if error_if_nonfinite and not bool(norm.isfinite()):
        raise RuntimeError(
            f"the norm of the gradients is {float(norm)}, which is not finite, so that they cannot be clipped; leave "
            f"out error_if_nonfinite=True to scale them all the same"
        )
    factor = (float(max_norm) / (norm + 1e-6)).clamp(max=1.0)
    for parameter in members:
        assert parameter.grad is not None
        parameter.grad.mul_(factor.to(parameter.grad.device))
    return norm


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """Return parameters as a list.

    Raises:
        TypeError: they are no tensors.
    """
    if isinstance(parameters, Tensor):
        return [parameters]
    require_instance("parameters", parameters, Iterable, "a tensor or an iterable of tensors")
    listed = list(parameters)
    for parameter in listed:
        require_instance("parameters", parameter, Tensor, "a tensor or an iterable of tensors")
    return listed
