"""What the paper compares with: plain weights whose spectra are normalized, or kept from collapsing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from ..layers import WeightShape, require_candidates
from ..manifolds import require_precision, without_autocast

# torch draws the first singular vectors from its global generator, which this seeds; any 63 bits will do.
_LARGEST_SEED: Final = 2**63 - 1


def spectral_normalization(
    network: nn.Module, skip: Iterable[str] = (), generator: torch.Generator | None = None
) -> nn.Module:
    """Divide each weight of linear, convolution, embedding and attention layers by an estimate of its spectral norm.

    The estimate is one power iteration better with every forward of a layer in training mode; before the first there
    are 15. Within ``torch.nn.utils.parametrize.cached()`` several forwards share one weight and one iteration. Under
    autocast torch estimates in the lower precision. Build the optimizer afterwards.

    Args:
        network: any network with torch.nn layers.
        skip: names of modules, or glob patterns for them, to leave as they are.
        generator: draws the first singular vectors; by default one with seed 0.

    Returns:
        The network.

    Raises:
        ValueError: there is no layer to normalize, or a pattern in ``skip`` matches nothing; or a transposed
            convolution has groups, whose weight torch reads as another matrix.

    Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", ICLR 2018.
    """
    chosen = require_candidates(network, skip, attention="joint")
    for candidate in chosen:
        if candidate.shape.transposed and candidate.shape.groups > 1:
            raise ValueError(
                f"network has a transposed convolution with {candidate.shape.groups} groups, {candidate.names[0]!r}, "
                f"which torch's spectral normalization reads as another matrix; skip it, or use spectral_regularization"
            )
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    seed = torch.randint(_LARGEST_SEED, (), generator=generator, device=generator.device).item()
    with torch.random.fork_rng(devices=_accelerators(network)):
        torch.manual_seed(int(seed))
        for candidate in chosen:
            for layer, parameter in dict(zip(candidate.layers, candidate.parameters, strict=True)).items():
                # The dimension of torch's weight that is the rows of its matrix.
                spectral_norm(layer, parameter, n_power_iterations=1, dim=int(candidate.shape.transposed))
    return network


def _accelerators(network: nn.Module) -> list[int]:
    """Return the CUDA devices of a network, whose generators torch draws from."""
    devices = {parameter.device for parameter in network.parameters()}
    return sorted({device.index or 0 for device in devices if device.type == "cuda"})


@final
class SpectralRegularization(nn.Module):
    """The parametrization of one weight: divided by its spectral norm, then compensated for what its spectrum lost.

    With the singular value decomposition W / ‖W‖₂ = U diag(s) Vᵀ, s descending, the layer's weight is U diag(max(s,
    s')) Vᵀ, where s' are the values that it had a step before. As those are compensated themselves, s' is the largest
    that each value has been. It is kept in the buffer ``floor`` of shape ``(min(rows, columns),)``, which forwards in
    training mode raise from 0; several at one W raise it once.

    The gradient is that of spectral normalization: ‖W‖₂ is differentiated, the compensation is a constant.

    Each forward takes a singular value decomposition of W, which is most of what this costs; within
    ``torch.nn.utils.parametrize.cached()`` several forwards share one.

    Args:
        weight: torch's weight, float32 or float64.
        shape: how it becomes a matrix.

    Raises:
        TypeError: the dtype is another one.

    Source: Liu, Tang, Zhou, Qiu, "Spectral Regularization for Combating Mode Collapse in GANs", ICCV 2019, the dynamic
    form, as Obukhov et al. 2021 describe it. Here the norm is the largest singular value and no power iteration.
    """

    floor: Tensor

    def __init__(self, weight: Tensor, shape: WeightShape) -> None:
        super().__init__()
        require_precision(weight.dtype, "the weights of spectral regularization")
        self._shape = shape
        self.register_buffer("floor", weight.new_zeros(min(shape.rows, shape.columns), requires_grad=False))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the compensated weight."""
        with without_autocast(weight):
            matrix = self._shape.to_matrix(weight)
            with torch.no_grad():
                left, values, right = torch.linalg.svd(matrix, full_matrices=False)
                normalized = values / values[0]
                compensated = torch.maximum(normalized, self.floor)
                if self.training:
                    self.floor.copy_(compensated)
                compensation = (left * (compensated - normalized)) @ right
            norm = left[:, 0] @ matrix @ right[0]
            return self._shape.to_weight(matrix / norm + compensation)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return what becomes the plain weight when the layer's is assigned: the same."""
        return weight


def spectral_regularization(network: nn.Module, skip: Iterable[str] = ()) -> nn.Module:
    """Give all linear, convolution, embedding and attention layers :class:`SpectralRegularization`, in place.

    Build the optimizer afterwards.

    Args:
        network: any network with torch.nn layers.
        skip: names of modules, or glob patterns for them, to leave as they are.

    Returns:
        The network.

    Raises:
        ValueError: there is no layer to regularize, or a pattern in ``skip`` matches nothing.
        TypeError: a weight is neither float32 nor float64.
    """
    for candidate in require_candidates(network, skip, attention="joint"):
        for layer, parameter in dict(zip(candidate.layers, candidate.parameters, strict=True)).items():
            parametrization = SpectralRegularization(candidate.weight, candidate.shape)
            parametrize.register_parametrization(layer, parameter, parametrization)
            parametrization.floor.zero_()  # what torch's own trial of the parametrization has raised
    return network
