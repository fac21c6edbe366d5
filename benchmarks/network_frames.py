"""The frame lists of the paper's networks, for the benchmarks of steps."""

from __future__ import annotations

import torch
from torch import nn

from sttp.layers import STTP, Riemannian, candidates
from sttp.manifolds import Chart
from sttp.study.networks.sngan import discriminator
from sttp.study.networks.wide_resnet import wide_resnet


def plain_network(name: str) -> nn.Module:
    """Return a network on the meta device by its name here."""
    with torch.device("meta"):
        return wide_resnet() if name == "WRN-28-10" else discriminator(32)


def charts(name: str, rank: int, redundant: bool) -> list[Chart]:
    """Return the charts of all frames of a network in tensor train form."""
    spec = STTP(rank=rank, frames=Riemannian(redundant=redundant))
    return [chart for c in candidates(plain_network(name)) for chart in spec.manifold(c.shape).charts]
