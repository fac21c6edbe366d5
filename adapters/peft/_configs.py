"""The configurations that there are, each thin: the fields of an adapter, with defaults for the required ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from ...manifolds import Geometry, Riemannian
from .._lorta import LoRTA
from .._since_start import FromBase, RandomStart
from .._soda import SODA
from .._spectral_adapter import Form, SpectralAdapter
from .._stella import StelLA
from .._sttp import Start, STTPAdapter, SVDPAdapter, Zero
from ._config import ChangeConfig
from ._register import register_config


@register_config("sttp")
@final
@dataclass
class STTPConfig(ChangeConfig):
    """That of :class:`~sttp.adapters.STTPAdapter`, whose fields it has."""

    kind = STTPAdapter

    rank: int | tuple[int, ...] = 8
    modes: str | tuple[tuple[int, ...], tuple[int, ...]] | None = None
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)
    scale: float | None = None


@register_config("sttp_svdp")
@final
@dataclass
class SVDPConfig(ChangeConfig):
    """That of :class:`~sttp.adapters.SVDPAdapter`, whose fields it has."""

    kind = SVDPAdapter

    rank: int = 8
    frames: Geometry = field(default_factory=Riemannian)
    start: Start = field(default_factory=Zero)
    scale: float | None = None


@register_config("sttp_soda")
@final
@dataclass
class SODAConfig(ChangeConfig):
    """That of :class:`~sttp.adapters.SODA`, whose fields it has."""

    kind = SODA

    modes: tuple[int, ...] | None = None
    offset: float = 0.0


@register_config("sttp_spectral_adapter")
@final
@dataclass
class SpectralAdapterConfig(ChangeConfig):
    """That of :class:`~sttp.adapters.SpectralAdapter`, whose fields it has."""

    kind = SpectralAdapter

    rank: int = 8
    form: Form = "additive"
    block: int = 0


@register_config("sttp_stella")
@final
@dataclass
class StellaConfig(ChangeConfig):
    """That of :class:`~sttp.adapters.StelLA`, whose fields it has."""

    kind = StelLA

    rank: int = 8
    alpha: float | None = None
    diagonal: bool = False
    start: RandomStart = field(default_factory=FromBase)


@register_config("sttp_lorta")
@final
@dataclass
class LoRTAConfig(ChangeConfig):
    """That of :class:`~sttp.adapters.LoRTA`, whose fields it has. Its factors are saved once for all layers."""

    kind = LoRTA

    rank: int = 8
    heads: int = 1
    matrices: int = 1
    alpha: float | None = None
