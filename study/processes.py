"""Several processes that train one network together, as ``torchrun`` starts them; one process where it does not.

The union of the ranks' batches is the batch of a single process, and statistics of batch norms are taken over that
union: losses are those of a single process up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Named = TypeVar("Named", bound=tuple[Any, ...])
Value = TypeVar("Value")


def begin(device: str) -> None:
    """Join the processes that ``torchrun`` has started, if it has and this one has not yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")


def end() -> None:
    """Leave the processes that :func:`begin` has joined."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them."""
    return dist.get_rank() if dist.is_initialized() else 0


def own_device(device: str) -> str:
    """Return the device of this process: with ``cuda`` each process of a machine has one of its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" and world_size() > 1 else device


def share(tensors: Named) -> Named:
    """Return this process's part of a named tuple of tensors or None: equal contiguous pieces of the first dimension.

    The processes must divide the batch, see :func:`require_divisible`.
    """
    count = world_size()
    if count == 1:
        return tensors
    size = next(len(tensor) for tensor in tensors if tensor is not None)
    part = slice(rank() * size // count, (rank() + 1) * size // count)
    return _rebuilt(tensors, [None if tensor is None else tensor[part] for tensor in tensors])


def parallel(network: nn.Module) -> nn.Module:
    """Return the network, or where there are several processes a wrapper that adds up their gradients.

    Batch norms of the network itself are then synchronized, in place.
    """
    if world_size() == 1:
        return network
    synchronize_norms(network)
    return DistributedDataParallel(network, broadcast_buffers=False)


def mean(value: Tensor) -> Tensor:
    """Return the mean of a detached tensor over the processes."""
    if world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world_size()


def from_first(value: Any) -> Any:
    """Return the first process's value of a picklable object."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def by_first(action: Callable[[], Value]) -> Value:
    """Let the first process do something; return or raise in all of them what it has returned or raised.

    Args:
        action: what is done; its value, or its exception, must be picklable where there are several processes.
    """
    outcome: tuple[Any, Exception | None] = (None, None)
    if rank() == 0:
        try:
            outcome = (action(), None)
        except Exception as error:
            outcome = (None, error)
    value, refusal = from_first(outcome)
    if refusal is not None:
        raise refusal
    done: Value = value
    return done


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process go through a block alone, and then the others, which find what it has left."""
    if rank() > 0:
        _wait()
    try:
        yield
    finally:
        if rank() == 0:
            _wait()


def require_divisible(batch_size: int, accumulation: int) -> None:
    """Refuse a batch that the processes, or the pieces of each one's part, do not divide."""
    if batch_size % (world_size() * accumulation):
        raise ValueError(
            f"batch_size must be a multiple of {world_size()} processes times accumulation={accumulation}, "
            f"got {batch_size}; give another batch_size, or fewer processes or pieces"
        )


def own_pieces(tensors: Named, count: int) -> list[Named]:
    """Return this process's part of each of the equal pieces of a batch.

    Pieces first: a batch norm then sees the images of a piece, whatever the number of processes.
    """
    return [share(piece) for piece in pieces(tensors, count)]


def pieces(tensors: Named, count: int) -> list[Named]:
    """Return a named tuple of tensors or None in equal pieces."""
    if count == 1:
        return [tensors]
    chunks = [None if tensor is None else tensor.chunk(count) for tensor in tensors]
    return [_rebuilt(tensors, [None if c is None else c[k] for c in chunks]) for k in range(count)]


def _wait() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        dist.barrier()


def _rebuilt(tensors: Named, fields: list[Any]) -> Named:
    """Return a named tuple of the same kind with other fields."""
    kind: Any = type(tensors)
    rebuilt: Named = kind(*fields)
    return rebuilt


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
