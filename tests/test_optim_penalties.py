"""Penalties on spectra, against their formulas in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sttp.layers import STTP, Free, Identity, Lipschitz, reparameterize
from sttp.optim import d_optimal, divergence


class Weight(nn.Module):
    """Nothing but a spectrum: all that a penalty may ask of a weight."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def singular_values(self) -> Tensor:
        return self.values


def network_of(*spectra: Tensor) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), *(Weight(values) for values in spectra))


def random_spectra(*ranks: int, seed: int = 0) -> list[Tensor]:
    """Return spectra of either sign, unsorted, none near zero and no two equal."""
    generator = np.random.default_rng(seed)
    return [
        torch.tensor(
            generator.permutation(np.linspace(0.3, 2.0, r)) * generator.choice([-1, 1], r), dtype=torch.float64
        )
        for r in ranks
    ]


def numpy_d_optimal(spectra: list[np.ndarray]) -> float:
    logarithms = [np.log(np.abs(value) / np.abs(s).max()) for s in spectra for value in s]
    return -sum(logarithms) / len(logarithms)


def numpy_divergence(spectra: list[np.ndarray], width: float) -> float:
    penalties = []
    for s in spectra:
        ordered = sorted(np.abs(s) / np.abs(s).max(), reverse=True)
        terms = [
            (1 - ordered[i]) ** 2 / width**2 - np.log(max(ordered[i - 1] - ordered[i], 1e-6))
            for i in range(1, len(ordered))
        ]
        penalties.append(sum(terms) / len(terms) if terms else 0.0)
    return sum(penalties) / len(penalties)


@pytest.mark.parametrize("ranks", [(5,), (3, 8, 2), (4, 1), (1,)], ids=str)
def test_penalties_follow_their_formulas(ranks):
    spectra = random_spectra(*ranks)
    arrays = [s.numpy() for s in spectra]
    assert float(d_optimal(network_of(*spectra))) == pytest.approx(numpy_d_optimal(arrays), rel=1e-12, abs=1e-15)
    for width in (0.1, 0.5):
        value = float(divergence(network_of(*spectra), width))
        assert value == pytest.approx(numpy_divergence(arrays, width), rel=1e-12, abs=1e-15)
    assert float(divergence(network_of(*spectra))) == float(divergence(network_of(*spectra), 0.1))


@pytest.mark.parametrize("penalty", [d_optimal, divergence])
def test_gradients(penalty):
    spectra = tuple(s.requires_grad_() for s in random_spectra(4, 1, 3))
    assert torch.autograd.gradcheck(lambda *values: penalty(network_of(*values)), spectra)


@pytest.mark.parametrize("penalty", [d_optimal, divergence])
def test_scale_and_sign_and_order_of_a_spectrum_do_not_count(penalty):
    (values,) = random_spectra(6)
    expected = penalty(network_of(values))
    for other in (3 * values, -values, values.abs(), values.flip(0)):
        torch.testing.assert_close(penalty(network_of(other)), expected, rtol=1e-13, atol=0)


def test_special_spectra():
    equal = network_of(torch.ones(4, dtype=torch.float64))
    assert float(d_optimal(equal)) == 0
    assert float(divergence(equal)) == pytest.approx(-np.log(1e-6))  # gaps are clamped, and the penalty finite
    rank_one = network_of(torch.tensor([0.3]))
    assert float(divergence(rank_one)) == 0
    assert float(d_optimal(rank_one)) == 0


def test_precisions_may_be_mixed():
    spectra = [torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.25], dtype=torch.float64)]
    assert float(d_optimal(network_of(*spectra))) == pytest.approx(3 * np.log(2) / 4, rel=1e-6)
    assert float(divergence(network_of(*spectra))) > 0


# --- on networks ---


def reparameterized(spectrum, rank: int = 3) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    return reparameterize(network, STTP(rank, spectrum=spectrum))


@pytest.mark.parametrize("spectrum", [Free(), Lipschitz()], ids=str)
@pytest.mark.parametrize(("penalty", "oracle"), [(d_optimal, numpy_d_optimal), (divergence, numpy_divergence)])
def test_spectra_of_a_network_are_found_and_improved(spectrum, penalty, oracle):
    network = reparameterized(spectrum)
    parameters = [network[0].spectral.spectrum, network[2].spectral.spectrum]
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.tensor([0.7, -1.4, 0.2]))
    loss = penalty(network)
    arguments = (0.1,) if penalty is divergence else ()
    singular_values = [np.linalg.svd(network[k].weight.detach().numpy(), compute_uv=False)[:3] for k in (0, 2)]
    assert loss.item() == pytest.approx(oracle(singular_values, *arguments), rel=1e-5)
    loss.backward()
    assert all(frame.grad is None for frame in network[0].spectral.coordinates)
    with torch.no_grad():
        for parameter in parameters:
            parameter -= 1e-4 * parameter.grad
    assert penalty(network) < loss


@pytest.mark.parametrize("penalty", [d_optimal, divergence])
def test_a_shared_weight_counts_once(penalty):
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    tied[1].weight = tied[0].weight
    reparameterize(tied, STTP(3))
    first, second = torch.tensor([1.0, 0.5, 0.1]), torch.tensor([1.0, 0.9, 0.8])
    with torch.no_grad():
        tied[0].spectral.spectrum.copy_(first)
        tied[2].spectral.spectrum.copy_(second)
    torch.testing.assert_close(penalty(tied).detach(), penalty(network_of(first, second)))
    assert abs(penalty(tied) - penalty(network_of(first, first, second))) > 0.1


def test_the_identity_spectrum_costs_nothing_and_asks_for_no_gradient():
    network = reparameterized(Identity())
    penalty = d_optimal(network)
    assert float(penalty) == 0
    (network(torch.ones(1, 6)).sum() + penalty).backward()
    assert network[0].spectral.coordinates[0].grad is not None


@pytest.mark.parametrize("penalty", [d_optimal, divergence])
def test_a_dense_network_is_refused(penalty):
    with pytest.raises(ValueError, match="Sequential is dense; reparameterize it first"):
        penalty(nn.Sequential(nn.Linear(3, 3)))


@pytest.mark.parametrize("width", [0.0, -0.1, float("nan")])
def test_a_width_that_is_not_positive_is_refused(width):
    with pytest.raises(ValueError, match=f"width must be finite and above 0, got {width}"):
        divergence(network_of(torch.ones(2)), width)
