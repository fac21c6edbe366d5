"""Batch norms over the batches of all processes, on any device; torch's own wants a GPU."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn


@final
class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes. Each of them is given the sum of the gradients that all have of it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


@final
class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of the union of the processes' batches, which are of one size. State and options are torch's."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize ``(batch, channels, height, width)``."""
        if not self.training or dist.get_world_size() == 1:
            return super().forward(input)
        count = dist.get_world_size()
        dimensions = (0, 2, 3)
        # Two reductions: the square of a mean taken from a mean of squares would lose digits.
        mean: Tensor = _Sum.apply(input.float().mean(dimensions)) / count
        centred = input.float() - mean[:, None, None]
        variance: Tensor = _Sum.apply(centred.square().mean(dimensions)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                size = count * input.numel() // input.shape[1]
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
                weight = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked or 1)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
                self.running_var.lerp_(variance.to(self.running_var.dtype) * (size / max(size - 1, 1)), weight)
        normalized = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.weight is not None:
            normalized = normalized * self.weight[:, None, None] + self.bias[:, None, None]
        return normalized.to(input.dtype)


def synchronize_norms(network: nn.Module) -> None:
    """Make all two-dimensional batch norms of a network synchronized ones, in place and with their state."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronizedBatchNorm2d


def separate_norms(network: nn.Module) -> None:
    """Undo :func:`synchronize_norms`."""
    for module in network.modules():
        if type(module) is SynchronizedBatchNorm2d:
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]  # the class that it had
