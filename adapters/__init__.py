"""Changes of frozen networks: spectral and tensor-train adapters and their peers, attached, merged and taken off."""

from ._adapt import adapt, adapted_layers, detach, merge, switch, unmerge
from ._adapted_layer import AdaptedLayer
from ._adapter import Adapter, FrozenWeight, WeightAdapter
from ._change import Additive, Change, LowRank
from ._deep_compression import compress_deep
from ._deep_lora import DeepLoRA
from ._dora import DoRA
from ._hra import HRA
from ._joint_rank import JointLowRank
from ._lora import LoRA, PiSSA
from ._loretta import LoRETTA
from ._lorta import LoRTA
from ._mpo import MPO
from ._oft import OFT
from ._operator import Truncation
from ._preconditioned import PreconditionedLoRA
from ._psoft import PSOFT
from ._published import published_optimizer
from ._register import register_adapter, register_part
from ._report import AdapterReport, ChangeReport, report
from ._since_start import AsPublished, FromBase, RandomStart, SinceStart
from ._soda import SODA
from ._spectral_adapter import SpectralAdapter
from ._squeeze import squeeze
from ._stella import StelLA
from ._storage import load, save
from ._sttp import Offset, Start, STTPAdapter, SVDPAdapter, Weights, Zero
from ._tied_sttp import TiedSTTP

__all__ = [
    "HRA",
    "MPO",
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
    "TiedSTTP",
    "Truncation",
    "WeightAdapter",
    "Weights",
    "Zero",
    "adapt",
    "adapted_layers",
    "compress_deep",
    "detach",
    "load",
    "merge",
    "published_optimizer",
    "register_adapter",
    "register_part",
    "report",
    "save",
    "squeeze",
    "switch",
    "unmerge",
]
