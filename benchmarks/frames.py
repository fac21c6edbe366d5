"""Householder frames, forward and backward, against reflector-by-reflector kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sttp.manifolds import householder_frames, orthogonality_error

from .harness import Comparison, compare, geometric_mean, kept_bytes, publish

# (frames, rows, columns)
SHAPES = ((16, 128, 64), (100, 128, 64), (24, 512, 64), (8, 640, 64), (8, 5760, 64), (1, 1024, 256))
QUICK_SHAPES = ((16, 128, 64), (8, 640, 64))


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    try:
        from torch_householder import torch_householder_orgqr
    except ImportError:
        torch_householder_orgqr = None
    rows = []
    for shape in QUICK_SHAPES if quick else SHAPES:
        entries = (0.3 * torch.randn(shape, device=device)).requires_grad_()
        gradient = torch.randn(shape, device=device)
        identity = torch.eye(*shape[1:], device=device)

        def reflectors(entries: Tensor = entries, identity: Tensor = identity) -> Tensor:
            return entries.tril(-1) + identity

        def library(reflectors: Callable[[], Tensor] = reflectors) -> Tensor:
            vectors = reflectors()
            return torch.linalg.householder_product(vectors, 2 / vectors.square().sum(dim=-2))

        forwards: dict[str, Callable[[], Tensor]] = {"ours": lambda entries=entries: householder_frames(entries)}
        if torch_householder_orgqr is not None:
            forwards["torch-householder"] = lambda reflectors=reflectors: torch_householder_orgqr(reflectors())
        forwards["torch.linalg"] = library
        steps = {key: _forward_backward(function, entries, gradient) for key, function in forwards.items()}
        notes = {}
        for key, function in forwards.items():
            notes[f"|QᵀQ−I| {key}"] = float(orthogonality_error(function()).max())
            notes[f"kept MB {key}"] = kept_bytes(function) / 1e6
        ours = steps.pop("ours")
        rows.append(compare(str(shape), ours, steps, device, notes=notes, slow=("torch.linalg",)))
    publish("frames", rows, device, as_json, _summary(rows))


def _forward_backward(function: Callable[[], Tensor], entries: Tensor, gradient: Tensor) -> Callable[[], None]:
    def step() -> None:
        entries.grad = None
        function().backward(gradient)

    return step


def _summary(rows: list[Comparison]) -> dict[str, float]:
    peers = rows[0].peers
    return {f"geometric mean, {p}": geometric_mean([row.ratios[p].median for row in rows]) for p in peers}
