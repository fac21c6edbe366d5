"""Torch's own steps for the plain parameters beside frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from ._riemannian_optimizer import RiemannianOptimizer


def begin_adam(parameter: Tensor, state: dict[str, Any]) -> None:
    """Fill a plain parameter's state as torch's Adam does."""
    state["step"] = torch.zeros((), dtype=torch.float32)
    for name in ("exp_avg", "exp_avg_sq"):
        state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)


def step_adam(optimizer: RiemannianOptimizer, parameters: list[Tensor], group: dict[str, Any]) -> None:
    """Make a step of torch's Adam with the group's options, of which amsgrad and capturable may be absent."""
    amsgrad, capturable = group.get("amsgrad", False), group.get("capturable", False)
    states = [optimizer.state[parameter] for parameter in parameters]
    for parameter, state in zip(parameters, states, strict=True):
        if capturable:
            state["step"] = state["step"].to(parameter.device)
        if amsgrad and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    beta1, beta2 = group["betas"]
    adam(
        parameters,
        _gradients(parameters),
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if amsgrad else [],
        [state["step"] for state in states],
        amsgrad=amsgrad,
        has_complex=any(parameter.is_complex() for parameter in parameters),
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
        capturable=capturable,
    )


def step_sgd(optimizer: RiemannianOptimizer, parameters: list[Tensor], group: dict[str, Any]) -> None:
    """Make a step of torch's SGD with the group's options; momentum, dampening and nesterov may be absent."""
    momentum = group.get("momentum", 0.0)
    buffers = [optimizer.state[parameter].get("momentum_buffer") for parameter in parameters]
    sgd(
        parameters,
        _gradients(parameters),
        buffers,
        weight_decay=group["weight_decay"],
        momentum=momentum,
        lr=group["lr"],
        dampening=group.get("dampening", 0.0),
        nesterov=group.get("nesterov", False),
        maximize=group["maximize"],
    )
    if momentum:
        for parameter, buffer in zip(parameters, buffers, strict=True):
            optimizer.state[parameter]["momentum_buffer"] = buffer


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
