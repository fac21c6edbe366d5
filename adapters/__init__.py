"""Changes of frozen networks: spectral and tensor-train adapters and their peers, attached, merged and taken off."""

from ._adapt import adapt, adapted_layers, detach, merge, switch, unmerge
from ._adapted_layer import AdaptedLayer
from ._adapter import Adapter, FrozenWeight, WeightAdapter
from ._change import Additive, Change, LowRank
from ._deep_lora import DeepLoRA
from ._dora import DoRA
from ._hra import HRA
from ._joint_rank import JointLowRank
from ._lora import LoRA, PiSSA
from ._loretta import LoRETTA
from ._lorta import LoRTA
from ._oft import OFT
from ._preconditioned import PreconditionedLoRA
from ._psoft import PSOFT
from ._published import published_optimizer
from ._register import register_adapter, register_part
from ._report import AdapterReport, ChangeReport, report
from ._since_start import AsPublished, FromBase, RandomStart, SinceStart
from ._soda import SODA
from ._spectral_adapter import SpectralAdapter
from ._stella import StelLA
from ._storage import load, save
from ._sttp import Offset, Start, STTPAdapter, SVDPAdapter, Weights, Zero

__all__ = [
    "HRA",
    "OFT",
    "PSOFT",
    "SODA",
    "AdaptedLayer",
    "Adapter",
    "AdapterReport",
    "Additive",
    "AsPublished",
    "Change",
    "ChangeReport",
    "DeepLoRA",
    "DoRA",
    "FromBase",
    "FrozenWeight",
    "JointLowRank",
    "LoRA",
    "LoRETTA",
    "LoRTA",
    "LowRank",
    "Offset",
    "PiSSA",
    "PreconditionedLoRA",
    "RandomStart",
    "STTPAdapter",
    "SVDPAdapter",
    "SinceStart",
    "SpectralAdapter",
    "Start",
    "StelLA",
    "WeightAdapter",
    "Weights",
    "Zero",
    "adapt",
    "adapted_layers",
    "detach",
    "load",
    "merge",
    "published_optimizer",
    "register_adapter",
    "register_part",
    "report",
    "save",
    "switch",
    "unmerge",
]
