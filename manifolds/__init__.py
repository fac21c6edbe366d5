"""Points, tangents, retractions and charts of the manifolds that make up a spectral tensor train."""

from ._autocast import without_autocast
from ._embedded_train import EmbeddedTrain, parameter_manifolds
from ._frame_batches import frames_of_charts
from ._frame_manifold import FrameManifold
from ._geometry import Chart, Embedded, Geometry, Householder, HouseholderChart, Riemannian
from ._grassmann import Grassmann
from ._householder import entries_of_free, householder_entries, householder_frames
from ._input_metric import InputMetric
from ._matrices import (
    haar_frame,
    identity_like,
    newton_schulz_polish,
    orthogonality_error,
    qr_positive,
    rq_positive,
    symmetric_part,
)
from ._modes import balanced_modes, prime_modes, smooth_modes
from ._protocols import SpectrumOwner, TrainMember
from ._region import declare_region, declared_region
from ._register import (
    from_description,
    register_geometry,
    register_retraction,
    register_spectrum,
    to_description,
)
from ._replacement import mark_current, mark_replaced, require_current
from ._require import (
    described,
    require_choice,
    require_device,
    require_fitting,
    require_flag,
    require_frames,
    require_function,
    require_instance,
    require_integer,
    require_matrices,
    require_number,
    require_precision,
    require_shape,
    require_source,
    require_tensor,
)
from ._retraction import SHORT, longest_step
from ._retractions import QR, Cayley, Exponential, Polar, Retraction, Transport
from ._spectra import Fixed, Free, Identity, Lipschitz, Spectrum
from ._spectral_tensor_train import SpectralTensorTrain
from ._stiefel import METRICS, Metric, Stiefel
from ._train_point import MatrixFit, TrainPoint, TrainTangent
from ._train_products import left_factor_rows, merge_frames, train_product
from ._train_ranks import RankErrors, ranks_within
from ._train_shape import FrameShape, TrainShape, require_rank

__all__ = [
    "METRICS",
    "QR",
    "SHORT",
    "Cayley",
    "Chart",
    "Embedded",
    "EmbeddedTrain",
    "Exponential",
    "Fixed",
    "FrameManifold",
    "FrameShape",
    "Free",
    "Geometry",
    "Grassmann",
    "Householder",
    "HouseholderChart",
    "Identity",
    "InputMetric",
    "Lipschitz",
    "MatrixFit",
    "Metric",
    "Polar",
    "RankErrors",
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
    "balanced_modes",
    "declare_region",
    "declared_region",
    "described",
    "entries_of_free",
    "frames_of_charts",
    "from_description",
    "haar_frame",
    "householder_entries",
    "householder_frames",
    "identity_like",
    "left_factor_rows",
    "longest_step",
    "mark_current",
    "mark_replaced",
    "merge_frames",
    "newton_schulz_polish",
    "orthogonality_error",
    "parameter_manifolds",
    "prime_modes",
    "qr_positive",
    "ranks_within",
    "register_geometry",
    "register_retraction",
    "register_spectrum",
    "require_choice",
    "require_current",
    "require_device",
    "require_fitting",
    "require_flag",
    "require_frames",
    "require_function",
    "require_instance",
    "require_integer",
    "require_matrices",
    "require_number",
    "require_precision",
    "require_rank",
    "require_shape",
    "require_source",
    "require_tensor",
    "rq_positive",
    "smooth_modes",
    "symmetric_part",
    "to_description",
    "train_product",
    "without_autocast",
]
