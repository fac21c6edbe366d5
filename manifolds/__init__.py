"""Points, tangents, retractions and charts of the manifolds that make up a spectral tensor train."""

from .geometry import Chart, Geometry, Householder, HouseholderChart, Riemannian
from .grassmann import Grassmann
from .householder import householder_entries, householder_frames
from .matrices import haar_frame, orthogonality_error
from .protocols import SpectrumOwner, TrainMember
from .retractions import QR, Cayley, Exponential, Polar, Retraction, Transport
from .spectra import Free, Identity, Lipschitz, Spectrum
from .spectral_tensor_train import SpectralTensorTrain
from .stiefel import Stiefel
from .train_point import MatrixFit, TrainPoint, TrainTangent
from .train_shape import FrameShape, TrainShape, prime_modes

__all__ = [
    "QR",
    "Cayley",
    "Chart",
    "Exponential",
    "FrameShape",
    "Free",
    "Geometry",
    "Grassmann",
    "Householder",
    "HouseholderChart",
    "Identity",
    "Lipschitz",
    "MatrixFit",
    "Polar",
    "Retraction",
    "Riemannian",
    "SpectralTensorTrain",
    "Spectrum",
    "SpectrumOwner",
    "Stiefel",
    "TrainMember",
    "TrainPoint",
    "TrainShape",
    "TrainTangent",
    "Transport",
    "haar_frame",
    "householder_entries",
    "householder_frames",
    "orthogonality_error",
    "prime_modes",
]
