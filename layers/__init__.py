"""Layers whose weights are products of frames times a spectrum, and conversion of whole networks."""

from ..manifolds import Embedded, Fixed, Free, Householder, Identity, Lipschitz, Riemannian
from ._atomic_write import write_atomically
from ._attention import MultiheadAttention
from ._by_layer import ByLayer
from ._candidates import SPECTRAL_LAYERS, candidates, require_candidates
from ._conversion import decompress, reparameterize
from ._convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ._embedding import Embedding
from ._evaluation import attach as evaluate_together
from ._evaluation import detach as evaluate_apart
from ._evaluation import shared_evaluation
from ._factorization import factorize
from ._initialization import Haar, Initialization, NoisyIdentity, TruncatedIdentity
from ._linear import Linear
from ._manifold_parameters import manifold_parameter
from ._parametrized import parametrized
from ._ranks import rank_for, ranks_for
from ._repair import repair
from ._report import CompressionReport, DenseTensor, LayerReport, report
from ._specification import STTP, SVDP, Specification
from ._spectral_layer import SpectralLayer
from ._spectral_weight import Factors, SpectralWeight, spectral_weights
from ._storage import load, save
from ._watch import OffManifoldWarning
from ._weight_shape import WeightShape

__all__ = [
    "SPECTRAL_LAYERS",
    "STTP",
    "SVDP",
    "ByLayer",
    "CompressionReport",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DenseTensor",
    "Embedded",
    "Embedding",
    "Factors",
    "Fixed",
    "Free",
    "Haar",
    "Householder",
    "Identity",
    "Initialization",
    "LayerReport",
    "Linear",
    "Lipschitz",
    "MultiheadAttention",
    "NoisyIdentity",
    "OffManifoldWarning",
    "Riemannian",
    "Specification",
    "SpectralLayer",
    "SpectralWeight",
    "TruncatedIdentity",
    "WeightShape",
    "candidates",
    "decompress",
    "evaluate_apart",
    "evaluate_together",
    "factorize",
    "load",
    "manifold_parameter",
    "parametrized",
    "rank_for",
    "ranks_for",
    "repair",
    "reparameterize",
    "report",
    "require_candidates",
    "save",
    "shared_evaluation",
    "spectral_weights",
    "write_atomically",
]
