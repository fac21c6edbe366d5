"""The optimizer that a method was published with, so that a comparison can give each its own."""

from __future__ import annotations

import torch
from torch import nn

from ..manifolds import require_instance, require_number
from ._adapter import Adapter, trained_parameters


def published_optimizer(adapter: Adapter, network: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return the optimizer that an adapter's method was published with, for all trained parameters of a network.

    What it is for each adapter is said there, at ``optimizer``: AdamW for most, on frames followed by a retraction.
    Schedules and warm-up are the caller's.

    Args:
        adapter: what the network was adapted with.
        network: the adapted network; what is trained beside the adapter, such as a new head, is in it, too.
        lr: learning rate.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: the network trains nothing, or the rate is no positive number.
    """
    require_instance("adapter", adapter, Adapter, "an adapter such as STTPAdapter(rank=8)")
    require_instance("network", network, nn.Module, "a torch.nn.Module")
    require_number("lr", lr, above=0)
    if not trained_parameters(network):
        raise ValueError("network trains nothing: call adapt(network, adapter) first")
    return adapter.optimizer(network, lr)
