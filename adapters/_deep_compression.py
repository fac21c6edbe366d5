"""The compression of Deep LoRA: full factors to small ones that follow them (Yaras et al., ICML 2024, Sec. 3)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..manifolds import orthogonality_error, require_integer, require_number
from ._adapt import require_adapted
from ._adapted_layer import AdaptedLayer, Attachment
from ._deep_lora import CompressedFactors, DeepFactors, DeepLoRA

# How far a factor may be from ε times an orthogonal one: rounding, and far below a step.
_AT_START = 1e-4


def compress_deep(network: nn.Module, rank: int, gamma: float = 0.01, name: str = "default") -> nn.Module:
    """Put U C_L ⋯ C_1 Vᵀ in the place of full factors that have the first gradient and have not moved, in place.

    By gradient descent with step η and decay λ a full product W_L ⋯ W_1 that fits a target of rank r* moves in
    2r* directions alone; on all others it is ρ^L times an orthogonal matrix, ρ ← ρ(1 − ηλ − ηρ^{2(L−1)}). What follows
    it in these directions, with G the gradient of W_1 and h = ``rank``/2, is

        V = basis of [W_1ᵀ U_h/ε, V_h],   U = W_L ⋯ W_1 V/ε^L,   C_k = εI,

    U_h and V_h the h leading singular vectors of G; for a tall weight the same of the transposes, from W_L. V spans
    the complement of the null space that the source computes. Then::

        adapt(network, DeepLoRA(rank=None))
        loss(network(inputs)).backward()
        compress_deep(network, rank=8)
        optimizer = published_optimizer(DeepLoRA(8, compressed=True), network, lr=1e-4)

    Args:
        network: adapted with ``DeepLoRA(rank=None)`` under this name, the gradients of its factors there.
        rank: k, even, at most the smaller dimension of each weight: twice the rank that ΔW is thought to need.
        gamma: as for :class:`DeepLoRA`.
        name: of the adapter.

    Returns:
        The network.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the rank is odd or too large, or an adapter of this name has other changes, factors that have moved,
            or no finite gradient. Nothing is changed then.
    """
    require_integer("rank", rank, least=2)
    require_number("gamma", gamma, least=0)
    layers = {place: layer for place, layer in require_adapted(network, (name,)).items() if name in layer.attachments}
    attachments: dict[int, Attachment] = {}
    changes: dict[int, CompressedFactors] = {}
    for place, layer in layers.items():
        attachment, change = layer.attachments[name], layer.changes[name]
        full = attachment.adapter
        if not isinstance(full, DeepLoRA) or not isinstance(change, DeepFactors) or full.rank is not None:
            raise ValueError(f"layer {place!r} must have full factors to compress, of DeepLoRA(rank=None), got {full}")
        small = replace(full, rank=rank, compressed=True, gamma=gamma)
        attachments.setdefault(id(attachment), Attachment(small))
        if id(change) not in changes:
            try:
                changes[id(change)] = small.compressed_change(*_outer(change, rank, full.epsilon))
            except ValueError as error:
                raise ValueError(f"layer {place!r}: {error}") from None
    _exchange(list(layers.values()), name, changes, attachments)
    return network


def _exchange(
    layers: list[AdaptedLayer], name: str, changes: dict[int, CompressedFactors], attachments: dict[int, Attachment]
) -> None:
    for layer in layers:
        old = id(layer.changes[name])
        if old in changes:  # layers that share a weight share their changes, which are exchanged once
            layer.changes[name] = changes[old]
        layer.attachments[name] = attachments[id(layer.attachments[name])]


@torch.no_grad()
def _outer(change: DeepFactors, rank: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return U and V of one weight."""
    first, last = change.chain[0], change.chain[-1]
    rows, columns = len(last), first.shape[1]
    if rank > min(rows, columns) or rank % 2:
        raise ValueError(f"rank must be even and at most {min(rows, columns)}, got {rank}")
    is_tall = rows > columns
    factor = last if is_tall else first
    if factor.grad is None or not factor.grad.isfinite().all():
        raise ValueError("the factors have no finite gradient; call loss.backward() before they are compressed")
    weight, gradient = (factor.mT, factor.grad.mT) if is_tall else (factor, factor.grad)
    if orthogonality_error(weight / epsilon) > _AT_START * len(weight) ** 0.5:
        raise ValueError("the factors have moved; compress them before the first step of an optimizer")
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    half = rank // 2
    spanning = torch.cat((weight.mT @ left[:, :half] / epsilon, right[:half].mT), dim=1)
    basis = torch.linalg.qr(spanning)[0]
    product = change.update() / epsilon ** len(change.chain)
    return (basis, product.mT @ basis) if is_tall else (product @ basis, basis)
