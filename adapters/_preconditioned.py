"""Riemannian preconditioned LoRA (Zhang & Pilanci, ICML 2024, arXiv 2402.02347)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from ..manifolds import require_instance, require_number
from ._adapt import require_adapted
from ._lora import TwoFactors


@final
class PreconditionedLoRA(torch.optim.Optimizer):
    """Steps for the factors of LoRA, and of what is made of them, that hardly depend on how ΔW is split into B A.

        A ← A − lr · adam((BᵀB + δI)⁻¹ ∇_A),   then   B ← B − lr · adam(∇_B (AAᵀ + δI)⁻¹)  with the new A,

    adam(g) being Adam's m̂/(√v̂ + eps) with decoupled weight decay, or g itself where ``betas`` is None. Without moments
    W moves the same from (B M, M⁻¹ A) for any invertible M, up to δ and the order of the two. The metric is the
    block-diagonal part of ‖δW‖_F². A step costs two solves of size r for each weight.

    Args:
        network: the adapted network; its trained parameters that are no such factors take the same steps unconditioned.
        lr: learning rate.
        betas: decay rates of Adam's moments, or None.
        eps: added to Adam's denominator.
        weight_decay: shrinks parameters by 1 − lr · weight_decay.
        damping: δ.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the network has no such factors, or a number is out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-3,
        betas: tuple[float, float] | None = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        damping: float = 1e-6,
    ) -> None:
        require_adapted(network, ())
        pairs = {id(m.A): m for m in network.modules() if isinstance(m, TwoFactors) and m.A.requires_grad}
        if not pairs:
            raise ValueError("network has no factors of LoRA to train; use RiemannianAdam for its adapters")
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            require_number(name, value, least=0)
        require_number("damping", damping, above=0)
        if betas is not None:
            require_instance("betas", betas, tuple, "a pair of numbers, or None")
            for beta in betas:
                require_number("each of betas", beta, least=0, below=1)
        inside = {id(p) for pair in pairs.values() for p in (pair.A, pair.B)}
        others = [p for p in network.parameters() if p.requires_grad and id(p) not in inside]
        groups: list[dict[str, Any]] = [
            {"params": [p for pair in pairs.values() for p in (pair.A, pair.B)], "conditioned": True}
        ]
        if others:
            groups.append({"params": others, "conditioned": False})
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "damping": damping}
        super().__init__(groups, own)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; see the class."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if not group["conditioned"]:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, parameter.grad, group)
                continue
            for A, B in zip(group["params"][::2], group["params"][1::2], strict=True):
                if A.grad is not None:
                    self._move(A, torch.linalg.solve(_gram(B.mT, group), A.grad), group)
                if B.grad is not None:
                    self._move(B, torch.linalg.solve(_gram(A, group), B.grad, left=False), group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        if group["betas"] is None:
            parameter.add_(gradient, alpha=-group["lr"])
            return
        (first, second), state = group["betas"], self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        step = state["step"].add_(1)
        mean = state["exp_avg"].lerp_(gradient, 1 - first) / (1 - first**step)
        square = state["exp_avg_sq"].lerp_(gradient.square(), 1 - second) / (1 - second**step)
        parameter.sub_(group["lr"] * mean / (square.sqrt() + group["eps"]))


def _gram(rows: Tensor, group: dict[str, Any]) -> Tensor:
    """Return X Xᵀ + δI."""
    return rows @ rows.mT + group["damping"] * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
