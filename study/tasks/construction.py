"""The network of a run at step 0."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...layers import STTP, Specification, candidates, decompress, reparameterize
from ..baselines import BASELINES
from ..networks import NETWORKS, Role
from ..parameterizations import DENSE
from ..settings import Settings
from .task import ImageShape

if TYPE_CHECKING:
    from ..run import Run


def require_role(run: Run, words: str, *roles: Role) -> None:
    """Refuse a network that is trained to be something else than a task trains.

    Args:
        run: whose network it is.
        words: the roles as the message has them.
        roles: what would do.

    Raises:
        ValueError: as said; the message lists the networks that would do.
    """
    if NETWORKS[run.network].role not in roles:
        choices = ", ".join(name for name, entry in NETWORKS.items() if entry.role in roles)
        raise ValueError(
            f"network of the task {run.task!r} must be {words}, got {run.network!r}; choose from {choices}"
        )


def built(name: str, width: int | None, settings: Settings, shape: ImageShape) -> nn.Module:
    """Return a network of the registry with plain weights, torch's own first ones; works on the meta device.

    Args:
        name: of the network.
        width: its base width, None for its standard one.
        settings: depth and such, and whether it is told the classes.
        shape: of the images.

    Raises:
        ValueError: the network has no such width or depth, is for images of another size, or needs classes that are
            not there.
    """
    entry = NETWORKS[name]
    if entry.size not in (None, shape.size):
        raise ValueError(
            f"network {name!r} is for images of {entry.size} pixels, and those of the data {settings.data!r} have "
            f"{shape.size}; give another network"
        )
    needs_classes = entry.role == "classifier" or settings.conditional
    if needs_classes and shape.classes < 2:
        raise ValueError(
            f"data {settings.data!r} has one class, which leaves nothing to tell apart; give data with two or more, or "
            "a GAN that is not conditional"
        )
    options = {"channels": shape.channels, "depth": settings.depth, "widen_factor": settings.widen_factor}
    if needs_classes:
        options["number_of_classes"] = shape.classes
    return entry.build(width, **{key: value for key, value in options.items() if value is not None})


def plain_network(run: Run, shape: ImageShape) -> nn.Module:
    """Return a run's network with plain weights, torch's own first ones; see :func:`built`."""
    return built(run.network, run.settings.width, run.settings, shape)


def weightless_network(run: Run, shape: ImageShape) -> nn.Module:
    """Return a run's network on the meta device, where it takes neither time nor memory; see :func:`built`."""
    with torch.device("meta"):
        return plain_network(run, shape)


def require_buildable(run: Run, shape: ImageShape) -> None:
    """Refuse a run whose network cannot be built for images of a shape.

    Raises:
        ValueError: as said.
    """
    weightless_network(run, shape)


def first_network(run: Run, shape: ImageShape) -> nn.Module:
    """Return the network at step 0: plain ones have torch's own first weights, normalized where the method does that.

    All reparameterized networks of one seed, rank and spectrum have equal weights, see :func:`first_weights`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        network = plain_network(run, shape)
    spec, skip = run.curve.specification, NETWORKS[run.network].skip
    if spec is None:
        return constrained(network, run.parameterization, skip, run.seed)
    return first_weights(network, spec, skip, run.seed)


def first_weights(network: nn.Module, spec: Specification, skip: tuple[str, ...], seed: int) -> nn.Module:
    """Reparameterize a plain network, from weights that depend on rank, spectrum and seed alone.

    They are those of a fresh `sttp stiefel`; other parameterizations and geometries stand for the same ones.

    Args:
        network: with plain weights; it is changed.
        spec: what its layers become.
        skip: layers that stay dense.
        seed: of the weights.
    """
    reference = STTP(spec.rank, spectrum=spec.spectrum)
    reparameterize(network, reference, skip, generator=torch.Generator().manual_seed(seed))
    if spec == reference:
        return network
    with warnings.catch_warnings():
        # The spectra that cannot hold a scale are met here with scales that are 1 up to rounding.
        warnings.filterwarnings("ignore", message="the spectrum .* cannot hold the scale", category=UserWarning)
        return reparameterize(decompress(network), spec, skip, init="weights")


def weight_entries(run: Run, shape: ImageShape) -> int:
    """Return the number of entries of all weights that the run's parameterization is about."""
    network = weightless_network(run, shape)
    return sum(candidate.weight.numel() for candidate in candidates(network, NETWORKS[run.network].skip))


def constrained(network: nn.Module, parameterization: str, skip: tuple[str, ...], seed: int) -> nn.Module:
    """Return a plain network as it is, or with the normalization that the parameterization names."""
    if parameterization == DENSE:
        return network
    return BASELINES[parameterization](network, skip, torch.Generator().manual_seed(seed))
