"""Changes of frozen networks: spectral and tensor-train adapters and their peers, attached, merged and taken off."""

from ._adapt import adapt, adapted_layers, detach, merge, switch, unmerge
from ._adapted_layer import AdaptedLayer
from ._adapter import Adapter, FrozenWeight, WeightAdapter
from ._change import Additive, Change, LowRank
from ._lora import LoRA, PiSSA
from ._register import register_adapter, register_part
from ._report import AdapterReport, ChangeReport, report
from ._since_start import SinceStart
from ._storage import load, save
from ._sttp import Offset, Start, STTPAdapter, SVDPAdapter, Weights, Zero

__all__ = [
    "AdaptedLayer",
    "Adapter",
    "AdapterReport",
    "Additive",
    "Change",
    "ChangeReport",
    "FrozenWeight",
    "LoRA",
    "LowRank",
    "Offset",
    "PiSSA",
    "STTPAdapter",
    "SVDPAdapter",
    "SinceStart",
    "Start",
    "WeightAdapter",
    "Weights",
    "Zero",
    "adapt",
    "adapted_layers",
    "detach",
    "load",
    "merge",
    "register_adapter",
    "register_part",
    "report",
    "save",
    "switch",
    "unmerge",
]
