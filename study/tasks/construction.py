"""The network of a run at step 0."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from ...adapters import adapted_layers
from ...adapters import report as adapter_report
from ...layers import STTP, Specification, candidates, decompress, reparameterize, report
from ..networks import NETWORKS, network_entry
from ..parts import SPECTRA
from ..random_streams import seeded
from ..settings import Settings
from .case import USUAL, TrainingCase
from .method import Method, method_of
from .task import ImageShape


def built(
    name: str, width: int | None, settings: Settings, shape: ImageShape | None, options: dict[str, Any] | None = None
) -> nn.Module:
    """Return a network of the register with plain weights, torch's own first ones.

    Args:
        name: of the network.
        width: its base width, None for its standard one.
        settings: depth and such, and whether it is told the classes.
        shape: of the images; it tells a network the options ``channels`` and ``number_of_classes`` if it has them.
        options: others by name.

    Raises:
        ValueError: the network has no such width or option, is for images of another size, or needs classes that are
            not there.
    """
    entry = network_entry(name)
    if shape is not None and entry.size not in (None, shape.size):
        raise ValueError(
            f"network {name!r} is for images of {entry.size} pixels, and those of the data {settings.data!r} have "
            f"{shape.size}; give another network"
        )
    needs_classes = shape is not None and (entry.role in ("classifier", "trained", None) or settings.conditional)
    if shape is not None and needs_classes and shape.classes < 2 and entry.role is not None:
        raise ValueError(
            f"data {settings.data!r} has one class, which leaves nothing to tell apart; give data with two or more, or "
            "a GAN that is not conditional"
        )
    given: dict[str, Any] = {"depth": settings.depth, "widen_factor": settings.widen_factor}
    if shape is not None:
        told = {"channels": shape.channels, "number_of_classes": shape.classes if needs_classes else None}
        given |= {option: value for option, value in told.items() if entry.takes(option)}
    return entry.build(width, **given | (options or {}))


def plain_case(case: TrainingCase) -> TrainingCase:
    """Return the case of plain weights on the same network, task and budget, with the usual optimizer."""
    return replace(
        case,
        parameterization="dense",
        geometry=None,
        spectrum=None,
        rank=None,
        retraction=None,
        metric=None,
        optimizer=USUAL["optimizer"],
        options=tuple((name, value) for name, value in case.options if name.startswith("network.")),
    )


def plain_network(case: TrainingCase, shape: ImageShape | None) -> nn.Module:
    """Return a case's network with plain weights, torch's own first ones; see :func:`built`."""
    return built(case.network, case.settings.width, case.settings, shape, case.options_of("network"))


def weightless_network(case: TrainingCase, shape: ImageShape | None) -> nn.Module:
    """Return a case's network on the meta device, where it takes neither time nor memory; see :func:`built`.

    A network of somebody else may not know this device, and is built as it is.
    """
    if not NETWORKS.entry(case.network).is_ours:
        with torch.random.fork_rng(devices=[]):
            return plain_network(case, shape)
    with torch.device("meta"):
        return plain_network(case, shape)


class Change(NamedTuple):
    """What fine-tuning trains of the layers that it changes: how many numbers, and the dimension that they span."""

    stored: int
    dimension: int


@final
@dataclass(frozen=True)
class Start:
    """A network at step 0, and what is known of it.

    Attributes:
        network: what is trained.
        z: compression in percent; 100 for plain weights.
        degrees_of_freedom: of all weights that are reparameterized; of plain ones their entries; of a network that is
            fine-tuned of all that is trained.
        error: largest relative Frobenius error of a weight against the one it stands for; None for plain weights.
        change: of a network that is fine-tuned; None for others.
    """

    network: nn.Module
    z: float
    degrees_of_freedom: int
    error: float | None
    change: Change | None = None


def first_network(case: TrainingCase, shape: ImageShape | None, seed: int) -> Start:
    """Return the network at step 0: plain ones have torch's own first weights, normalized where the method does that.

    All reparameterized networks of one seed, rank and spectrum have equal weights, see :func:`first_weights`.
    """
    with seeded(seed):
        network = plain_network(case, shape)
    spec, skip = case.specification, network_entry(case.network).skip
    if spec is not None:
        network = first_weights(network, spec, skip, seed)
        counted = report(network)
        return Start(network, counted.z, counted.dof, max(layer.fit_error or 0.0 for layer in counted.layers))
    method = method_of(case.parameterization)
    assert method is not None, "a case without specification has a method"
    return _by_method(case, method, network, skip, seed)


def first_weights(network: nn.Module, spec: Specification, skip: tuple[str, ...], seed: int) -> nn.Module:
    """Reparameterize a plain network, from weights that depend on rank, spectrum and seed alone.

    They are those of a fresh `sttp stiefel`; other parameterizations and geometries stand for the same ones.
    """
    reference = STTP(spec.rank, spectrum=spec.spectrum)
    reparameterize(network, reference, skip, generator=torch.Generator().manual_seed(seed))
    if spec == reference:
        return network
    with warnings.catch_warnings():
        # The spectra that cannot hold a scale are met here with scales that are 1 up to rounding.
        warnings.filterwarnings("ignore", message="the spectrum .* cannot hold the scale", category=UserWarning)
        return reparameterize(decompress(network), spec, skip, init="weights")


def _by_method(case: TrainingCase, method: Method, network: nn.Module, skip: tuple[str, ...], seed: int) -> Start:
    """Return what a method makes of a plain network, counted as :class:`Method` says."""
    if method.fine_tunes:
        return _fine_tuned(case, method, network, skip, seed)
    chosen = candidates(network, skip)
    entries = sum(candidate.weight.numel() for candidate in chosen)
    total = sum(parameter.numel() for parameter in network.parameters())
    kept = total - entries if not chosen else report(network, STTP(1), skip).kept
    if case.rank is not None and chosen:
        assert case.spectrum is not None, "a method with a rank starts from a spectrum"
        network = decompress(first_weights(network, STTP(case.rank, spectrum=SPECTRA[case.spectrum]), skip, seed))
    before = {c.names[0]: c.weight.detach().clone() for c in candidates(network, skip)} if case.rank else {}
    network = method.built(network, case.rank, seed, skip, case.options_of("method"))
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    in_place = max(0, trainable - (total - entries))
    z = 100 * (in_place + kept) / (entries + kept) if entries + kept else 100.0
    return Start(network, z, in_place, _largest_error(network, before))


def _fine_tuned(case: TrainingCase, method: Method, network: nn.Module, skip: tuple[str, ...], seed: int) -> Start:
    """Return what a method makes of a trained network; layers to skip, such as a new head, are no part of a change."""
    total = sum(parameter.numel() for parameter in network.parameters())
    network = method.built(network, case.rank, seed, skip, case.options_of("method"))
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    beside = sum(p.numel() for name in skip for p in network.get_submodule(name).parameters() if p.requires_grad)
    counted = adapter_report(network) if adapted_layers(network) else None
    redundant = 0 if counted is None else counted.stored - counted.dimension
    change = Change(trained - beside, trained - beside - redundant)
    return Start(network, 100 * trained / total, trained - redundant, None, change)


@torch.no_grad()
def _largest_error(network: nn.Module, before: dict[str, Tensor]) -> float | None:
    """Return the largest relative error of a weight that is still called what it was; None where none is."""
    modules = dict(network.named_modules())
    errors = []
    for name, weight in before.items():
        now = getattr(modules.get(name), "weight", None)
        if isinstance(now, Tensor) and now.shape == weight.shape:
            errors.append(float(torch.linalg.vector_norm(now - weight) / torch.linalg.vector_norm(weight)))
    return max(errors, default=None)
