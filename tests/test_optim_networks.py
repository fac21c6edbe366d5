"""Reparameterized networks trained by our optimizers and by stock geoopt's on the same parameters."""

import geoopt
import pytest
import torch
from torch import nn

from sttp.layers import STTP, SVDP, Householder, Lipschitz, Riemannian, reparameterize, spectral_weights
from sttp.manifolds import Polar
from sttp.optim import RiemannianAdam, RiemannianSGD, d_optimal

SPECIFICATIONS = {
    "stiefel": STTP(3, Riemannian()),
    "grassmann": STTP(3, Riemannian(redundant=False, retraction=Polar())),
    "canonical": STTP(3, Riemannian(metric="canonical"), Lipschitz()),
    "svdp": SVDP(3),
    "householder-reduced": STTP(3, Householder()),
}
OPTIMIZERS = {
    "adam": lambda parameters: RiemannianAdam(parameters, lr=2e-2),
    "sgd": lambda parameters: RiemannianSGD(parameters, lr=2e-2, momentum=0.9),
    "geoopt-adam": lambda parameters: geoopt.optim.RiemannianAdam(parameters, lr=5e-2),
    "geoopt-sgd": lambda parameters: geoopt.optim.RiemannianSGD(parameters, lr=2e-2, momentum=0.9),
}


def make_network(specification) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    return reparameterize(network, specification, generator=generator)


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(32) % 4
    patterns = torch.randn(4, 1, 4, 4, generator=generator)
    return patterns[labels] + 0.5 * torch.randn(32, 1, 4, 4, generator=generator), labels


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    images, labels = make_batch()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        (loss + 1e-3 * d_optimal(network)).backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# Every specification with one of ours and with one of geoopt's.
@pytest.mark.parametrize(
    ("specification", "optimizer"),
    [
        (specification, name)
        for row, specification in enumerate(SPECIFICATIONS)
        for name in (("adam", "geoopt-sgd"), ("sgd", "geoopt-adam"))[row % 2]
    ],
)
def test_the_loss_falls_and_frames_stay_orthonormal(specification, optimizer):
    network = make_network(SPECIFICATIONS[specification])
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    losses = train(network, OPTIMIZERS[optimizer](network.parameters()), steps=80)
    assert losses[0] > 1
    assert losses[-1] < 0.2 * losses[0]
    for weight in spectral_weights(network).values():
        assert weight.orthogonality_error() < 1e-5
    # All parameters have moved but frames of dimension zero, such as a single sign.
    unmoved = [name for name, parameter in network.named_parameters() if torch.equal(parameter, start[name])]
    assert all(start[name].numel() <= 1 for name in unmoved)


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianSGD])
def test_ours_and_geoopts_agree_on_a_network(kind):
    """Where geoopt is right, one network trained by either has the same losses."""
    ours, theirs = (make_network(STTP(3)).double() for _ in range(2))
    images = make_batch()[0].double()
    if kind is RiemannianAdam:
        # One second moment a frame is geoopt's convention for frames, one an entry all's for plain parameters.
        optimizers = (
            kind(ours.parameters(), lr=1e-3, second_moment="frame"),
            geoopt.optim.RiemannianAdam(theirs.parameters(), lr=1e-3),
        )
    else:
        optimizers = kind(ours.parameters(), lr=1e-3), geoopt.optim.RiemannianSGD(theirs.parameters(), lr=1e-3)
    for _ in range(10):
        losses = []
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss = network(images).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-10)


def test_weights_that_were_decayed_by_a_group_of_their_own():
    """L2 decay belongs on a free spectrum: in a group of its own it shrinks the spectrum and nothing else."""
    network = make_network(STTP(3))
    spectra = [weight.spectrum for weight in spectral_weights(network).values()]
    chosen = {id(parameter) for parameter in spectra}
    others = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    optimizer = RiemannianSGD([{"params": spectra, "weight_decay": 1.0}, {"params": others}], lr=0.1)
    start = [parameter.detach().clone() for parameter in (*spectra, *others)]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for index, parameter in enumerate((*spectra, *others)):
        factor = 0.9 if index < len(spectra) else 1.0
        torch.testing.assert_close(parameter.detach(), factor * start[index])
