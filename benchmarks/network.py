"""Training steps of whole networks, and the overhead of all their frames and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sttp.layers import STTP, Householder, Riemannian, reparameterize, spectral_weights
from sttp.layers.evaluation import shared_evaluation
from sttp.manifolds import geometry as geometry_module
from sttp.study.networks.sngan import discriminator
from sttp.study.networks.wide_resnet import wide_resnet

from .harness import Comparison, compare, publish


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    rows = []
    image = torch.randn(64, 3, 32, 32, device=device)
    for rank in (16, 64):
        for geometry in (Householder(redundant=False), Riemannian(redundant=True)):
            network = reparameterize(discriminator(32).to(device), STTP(rank=rank, frames=geometry))
            peers = {"dense": _training_step(discriminator(32).to(device), image)}
            name = f"SNGAN-32 discriminator, batch 64, rank {rank}, {geometry.name}"
            rows.append(compare(name, _training_step(network, image), peers, device, rounds=7))
    if not quick:
        rows.append(_overhead(device))
    publish("network", rows, device, as_json, {})


def _overhead(device: torch.device) -> Comparison:
    """Time forward and backward of all weights of WRN-28-10, against one frame after another with torch-householder."""
    network = reparameterize(wide_resnet().to(device), STTP(rank=64, frames=Householder(redundant=False)))
    weights = list(spectral_weights(network).values())

    def all_weights() -> Tensor:
        total = weights[0].frames[0].new_zeros(())
        for weight in weights:
            left, values, right = weight.factors()
            total = total + left.sum() * values.sum() + right.sum()
        return total

    def ours() -> None:
        network.zero_grad(set_to_none=True)
        with shared_evaluation(network):
            all_weights().backward()

    def loop() -> None:
        network.zero_grad(set_to_none=True)
        with _one_reflector_after_another():
            all_weights().backward()

    return compare("all weights of WRN-28-10, STTP rank 64", ours, {"torch-householder loop": loop}, device, rounds=5)


@contextmanager
def _one_reflector_after_another() -> Iterator[None]:
    """Replace the frames' kernel by the torch-householder package's, called frame by frame."""
    from torch_householder import torch_householder_orgqr

    def frames(entries: Tensor, reduced: bool = False) -> Tensor:
        identity = torch.eye(*entries.shape[-2:], device=entries.device, dtype=entries.dtype)
        return torch_householder_orgqr(entries.tril(-1) + identity)

    original = geometry_module.householder_frames
    geometry_module.householder_frames = frames
    try:
        yield
    finally:
        geometry_module.householder_frames = original


def _training_step(network: nn.Module, inputs: Tensor) -> Callable[[], None]:
    def step() -> None:
        network.zero_grad(set_to_none=True)
        network(inputs).square().mean().backward()

    return step
