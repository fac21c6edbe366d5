"""Fine-tuning as methods: adapters, each with its published optimizer and with RiemannianAdam, and their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer

from ....adapters import (
    HRA,
    MPO,
    OFT,
    PSOFT,
    SODA,
    Adapter,
    DeepLoRA,
    DoRA,
    JointLowRank,
    LoRA,
    LoRETTA,
    LoRTA,
    Offset,
    PiSSA,
    PreconditionedLoRA,
    SpectralAdapter,
    StelLA,
    STTPAdapter,
    SVDPAdapter,
    TiedSTTP,
    adapt,
    adapted_layers,
    published_optimizer,
)
from ...parts import OPTIMIZERS, OfNetwork
from ...register import Appearance, default_look
from ..method import METHODS, Method

PUBLISHED: Final = "published"
PRECONDITIONED: Final = "preconditioned-lora"
RIEMANNIAN: Final = "riemannian-adam"
ADAMW: Final = "retracted-adamw"  # on plain parameters AdamW
# Appended to the name of a method: the same with RiemannianAdam in place of its own optimizer.
WITH_RIEMANNIAN: Final = f" {RIEMANNIAN}"


def _published(network: nn.Module, rate: float) -> Optimizer:
    """Return the optimizer that the adapters of a network were published with."""
    adapters = [
        attachment.adapter for layer in adapted_layers(network).values() for attachment in layer.attachments.values()
    ]
    if not adapters:
        raise ValueError(
            "optimizer 'published' is that of an adapter, and the network has none; give another optimizer"
        )
    return published_optimizer(adapters[0], network, rate)


OPTIMIZERS.add(PUBLISHED, OfNetwork(_published), title="published")
OPTIMIZERS.add(PRECONDITIONED, OfNetwork(PreconditionedLoRA))


def fine_tuned(network: nn.Module, adapter: Adapter, skip: tuple[str, ...], seed: int) -> nn.Module:
    """Adapt the layers that a network names as ``adapted``, all where it names none; train what is skipped in full."""
    generator = torch.Generator().manual_seed(seed)
    adapt(network, adapter, only=getattr(network, "adapted", ()), skip=skip, generator=generator)
    return _with_trained(network, skip)


def _probe(network: nn.Module, *, skip: tuple[str, ...]) -> nn.Module:
    return _with_trained(network.requires_grad_(False), skip)


def _with_trained(network: nn.Module, names: tuple[str, ...]) -> nn.Module:
    for name in names:
        network.get_submodule(name).requires_grad_(True)
    return network


def _ranked(adapter: Callable[[int], Adapter]) -> Callable[..., nn.Module]:
    def build(network: nn.Module, rank: int, *, skip: tuple[str, ...], seed: int) -> nn.Module:
        return fine_tuned(network, adapter(rank), skip, seed)

    return build


def _tied(adapter: Callable[[int, int, int], Adapter]) -> Callable[..., nn.Module]:
    """Return what builds one change for all layers, given a rank, heads of the attention, and matrices of a layer."""

    def build(network: nn.Module, rank: int, *, skip: tuple[str, ...], seed: int) -> nn.Module:
        heads, matrices = getattr(network, "heads", 1), len(getattr(network, "adapted", ("",)))
        return fine_tuned(network, adapter(rank, heads, matrices), skip, seed)

    return build


def _soda(network: nn.Module, *, skip: tuple[str, ...], seed: int) -> nn.Module:
    return fine_tuned(network, SODA(), skip, seed)


# By name: title, what builds it, and the optimizer of its own.
_ADAPTERS: Final[dict[str, tuple[str, Callable[..., nn.Module], str]]] = {
    "sttp-adapter": ("STTP adapter", _ranked(STTPAdapter), RIEMANNIAN),
    "sttp-adapter-offset": (
        "STTP adapter, offset",
        _ranked(lambda rank: STTPAdapter(rank, start=Offset())),
        RIEMANNIAN,
    ),
    "svdp-adapter": ("SVDP adapter", _ranked(SVDPAdapter), RIEMANNIAN),
    "tied-sttp": ("tied STTP", _tied(TiedSTTP), RIEMANNIAN),
    "lora": ("LoRA", _ranked(LoRA), PUBLISHED),
    "lora-preconditioned": ("LoRA, preconditioned", _ranked(LoRA), PRECONDITIONED),
    "pissa": ("PiSSA", _ranked(PiSSA), PUBLISHED),
    "dora": ("DoRA", _ranked(DoRA), PUBLISHED),
    "oft": ("OFT", _ranked(OFT), PUBLISHED),
    "hra": ("HRA", _ranked(HRA), PUBLISHED),
    "psoft": ("PSOFT", _ranked(PSOFT), PUBLISHED),
    "stella": ("StelLA", _ranked(StelLA), PUBLISHED),
    "loretta": ("LoRETTA", _ranked(lambda rank: LoRETTA(rank, train_rank=rank)), PUBLISHED),
    "lorta": ("LoRTA", _tied(LoRTA), PUBLISHED),
    "joint": ("joint low rank", _tied(lambda rank, heads, matrices: JointLowRank(rank, matrices)), PUBLISHED),
    "deep-lora": ("Deep LoRA", _ranked(DeepLoRA), PUBLISHED),
    "soda": ("SODA", _soda, PUBLISHED),
    "spectral-adapter": ("Spectral Adapter", _ranked(SpectralAdapter), PUBLISHED),
    "spectral-rotation": (
        "Spectral Adapter, rotated",
        _ranked(lambda rank: SpectralAdapter(rank, form="rotational")),
        PUBLISHED,
    ),
    "mpo": ("MPO", _ranked(lambda rank: MPO(rank)), PUBLISHED),
}
_BOUNDS: Final[dict[str, tuple[str, Callable[..., nn.Module], Appearance]]] = {
    "full": ("full fine-tuning", lambda network: network, Appearance("#333333", "D", "-")),
    "probe": ("linear probe", _probe, Appearance("#777777", "h", ":")),
}


def _add(name: str, **method: Any) -> None:
    METHODS.add(name, Method(name, fine_tunes=True, **method))


for _position, (_name, (_title, _build, _own)) in enumerate(_ADAPTERS.items()):
    _look = default_look(_position)
    _add(_name, build=_build, optimizer=_own, title=_title, look=replace(_look, line="-"))
    if _own == PUBLISHED:
        _dashed = replace(_look, line="--")
        _add(
            _name + WITH_RIEMANNIAN, build=_build, optimizer=RIEMANNIAN, title=f"{_title}, RiemannianAdam", look=_dashed
        )
for _name, (_title, _build, _look) in _BOUNDS.items():
    _add(_name, build=_build, optimizer=ADAMW, title=_title, look=_look)

# All that fine-tunes, the bounds first.
NAMES: Final = (
    *_BOUNDS,
    *_ADAPTERS,
    *(name + WITH_RIEMANNIAN for name, (_, _, own) in _ADAPTERS.items() if own == PUBLISHED),
)
