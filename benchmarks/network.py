"""Training steps of whole networks, and the overhead of all their frames and weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sttp.layers import (
    STTP,
    Householder,
    Riemannian,
    SpectralWeight,
    reparameterize,
    shared_evaluation,
    spectral_weights,
)
from sttp.manifolds import Chart, HouseholderChart, entries_of_free
from sttp.study.networks.sngan import discriminator
from sttp.study.networks.wide_resnet import wide_resnet

from .harness import Comparison, compare, publish, training_step


def run(device: torch.device, as_json: bool, quick: bool) -> None:
    """Measure and publish."""
    rows = []
    image = torch.randn(64, 3, 32, 32, device=device)
    for rank in (16, 64):
        for geometry in (Householder(redundant=False), Riemannian(redundant=True)):
            network = reparameterize(discriminator(32).to(device), STTP(rank=rank, frames=geometry))
            peers = {"dense": training_step(discriminator(32).to(device), image)}
            name = f"SNGAN-32 discriminator, batch 64, rank {rank}, {geometry.name}"
            rows.append(compare(name, training_step(network, image), peers, device, rounds=7))
    if not quick:
        rows.append(_overhead(device))
    publish("network", rows, device, as_json, {})


def _overhead(device: torch.device) -> Comparison:
    """Time forward and backward of all weights of WRN-28-10, against one frame after another with torch-householder."""
    from torch_householder import torch_householder_orgqr

    network = reparameterize(wide_resnet().to(device), STTP(rank=64, frames=Householder(redundant=False)))
    weights = list(spectral_weights(network).values())

    def one_frame(chart: Chart, coordinates: Tensor, signs: Tensor | None) -> Tensor:
        assert isinstance(chart, HouseholderChart)
        entries = entries_of_free(coordinates, chart.rows, chart.columns, chart.reduced)
        frame = torch_householder_orgqr(entries + torch.eye(chart.rows, chart.columns, device=device))
        return frame if signs is None else frame * signs

    def frame_by_frame(weight: SpectralWeight) -> Sequence[Tensor]:
        point = weight.point
        frames = [one_frame(*item) for item in zip(weight.manifold.charts, point.coordinates, point.signs, strict=True)]
        return weight.manifold.factors_of_frames(frames, point.spectrum)

    def ours() -> None:
        network.zero_grad(set_to_none=True)
        with shared_evaluation(network):
            _sum([weight.factors() for weight in weights]).backward()

    def loop() -> None:
        network.zero_grad(set_to_none=True)
        _sum([frame_by_frame(weight) for weight in weights]).backward()

    return compare("all weights of WRN-28-10, STTP rank 64", ours, {"torch-householder loop": loop}, device, rounds=5)


def _sum(factors: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.stack([tensor.sum() for group in factors for tensor in group]).sum()
