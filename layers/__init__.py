"""Layers whose weights are products of frames times a spectrum, and conversion of whole networks."""

from ..manifolds import Free, Householder, Identity, Lipschitz, Riemannian
from .conversion import decompress, reparameterize
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .embedding import Embedding
from .evaluation import shared_evaluation
from .factorization import factorize
from .initialization import Haar, Initialization, NoisyIdentity, TruncatedIdentity
from .linear import Linear
from .repair import repair
from .report import CompressionReport, LayerReport, ranks_for, report
from .specification import STTP, SVDP, Specification
from .spectral_layer import SpectralLayer
from .spectral_weight import Factors, SpectralWeight, spectral_weights
from .storage import load, save
from .weight_shape import WeightShape

__all__ = [
    "STTP",
    "SVDP",
    "CompressionReport",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Embedding",
    "Factors",
    "Free",
    "Haar",
    "Householder",
    "Identity",
    "Initialization",
    "LayerReport",
    "Linear",
    "Lipschitz",
    "NoisyIdentity",
    "Riemannian",
    "Specification",
    "SpectralLayer",
    "SpectralWeight",
    "TruncatedIdentity",
    "WeightShape",
    "decompress",
    "factorize",
    "load",
    "ranks_for",
    "repair",
    "reparameterize",
    "report",
    "save",
    "shared_evaluation",
    "spectral_weights",
]
