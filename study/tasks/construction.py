"""The network of a run at step 0."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from ...layers import STTP, decompress, reparameterize
from ...layers.conversion import candidates
from ..baselines import BASELINES
from ..networks import NETWORKS
from ..parameterizations import DENSE, SPECTRA
from .task import ImageShape

if TYPE_CHECKING:
    from ..run import Run

# The networks of GANs name the size of their images.
NETWORKS_OF_ONE_SIZE: Final = re.compile(r"^sngan(\d+)-")


def plain_network(name: str, run: Run, shape: ImageShape, width: int | None) -> nn.Module:
    """Return a network of the registry with plain weights, torch's own first ones; works on the meta device.

    Raises:
        ValueError: the network has no such width or depth, is for images of another size, or needs classes that are
            not there.
    """
    settings, classifies = run.settings, is_classifier(name)
    resolution = NETWORKS_OF_ONE_SIZE.search(name)
    if resolution is not None and int(resolution[1]) != shape.size:
        raise ValueError(
            f"network {name!r} is for images of {resolution[1]} pixels, and those of the data {settings.data!r} have "
            f"{shape.size}; give another network"
        )
    if (classifies or settings.conditional) and shape.classes < 2:
        raise ValueError(
            f"data {settings.data!r} has one class, which leaves nothing to tell apart; give data with two or more, or "
            "a GAN that is not conditional"
        )
    options = {"channels": shape.channels, "depth": settings.depth, "widen_factor": settings.widen_factor}
    if classifies or settings.conditional:
        options["number_of_classes"] = shape.classes
    given = {key: value for key, value in options.items() if value is not None}
    return NETWORKS[name].build(width, **given)


def require_buildable(run: Run, shape: ImageShape) -> None:
    """Refuse a run whose network cannot be built for images of a shape.

    Raises:
        ValueError: as said.
    """
    with torch.device("meta"):
        plain_network(run.network, run, shape, run.settings.width)


def is_classifier(name: str) -> bool:
    """Return whether a network of the registry maps images to classes, and is no half of a GAN."""
    return not name.endswith(("generator", "discriminator"))


def first_network(run: Run, shape: ImageShape) -> nn.Module:
    """Return the network at step 0.

    All reparameterized networks of one seed, rank and spectrum have equal weights: those of a fresh `sttp stiefel`.
    Plain networks have torch's own first weights, normalized where the parameterization does that.
    """
    entry = NETWORKS[run.network]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        network = plain_network(run.network, run, shape, run.settings.width)
    spec = run.curve.specification
    if spec is None or run.spectrum is None:
        return constrained(network, run.parameterization, entry.skip, run.seed)
    reference = STTP(spec.rank, spectrum=SPECTRA[run.spectrum])
    reparameterize(network, reference, entry.skip, generator=torch.Generator().manual_seed(run.seed))
    if spec == reference:
        return network
    with warnings.catch_warnings():
        # The spectra that cannot hold a scale are met here with scales that are 1 up to rounding.
        warnings.filterwarnings("ignore", message="the spectrum .* cannot hold the scale", category=UserWarning)
        return reparameterize(decompress(network), spec, entry.skip, init="weights")


def weight_entries(run: Run, shape: ImageShape) -> int:
    """Return the number of entries of all weights that the run's parameterization is about."""
    with torch.device("meta"):
        network = plain_network(run.network, run, shape, run.settings.width)
    return sum(candidate.weight.numel() for candidate in candidates(network, NETWORKS[run.network].skip))


def constrained(network: nn.Module, parameterization: str, skip: tuple[str, ...], seed: int) -> nn.Module:
    """Return a plain network as it is, or with the normalization that the parameterization names."""
    if parameterization == DENSE:
        return network
    return BASELINES[parameterization](network, skip, torch.Generator().manual_seed(seed))
